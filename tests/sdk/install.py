"""Puts the vendors' SDKs, unmodified, under build/sdk/; does nothing when they are there. Standard library only.

The JavaScript ones need node and npm: without them they are left out, and their tests say that they do not apply.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "build" / "sdk"
PYTHON_FOLDER = FOLDER / "python"
JS_FOLDER = FOLDER / "js"


def install_python() -> None:
    pins = (HERE / "requirements.txt").read_text()
    stamp = PYTHON_FOLDER / "installed.txt"
    if stamp.exists() and stamp.read_text() == pins:
        return
    shutil.rmtree(PYTHON_FOLDER, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(PYTHON_FOLDER)]
    subprocess.run([*pip, "--requirement", str(HERE / "requirements.txt")], check=True)
    stamp.write_text(pins)


def install_js() -> None:
    wanted = (HERE / "package.json").read_text()
    stamp = JS_FOLDER / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("The JavaScript SDKs are left out: node and npm are not installed.")
        return
    shutil.rmtree(JS_FOLDER, ignore_errors=True)
    JS_FOLDER.mkdir(parents=True)
    shutil.copy(HERE / "package.json", JS_FOLDER)
    quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    subprocess.run([npm, "install", "--prefix", str(JS_FOLDER), *quiet], check=True)
    stamp.write_text(wanted)


if __name__ == "__main__":
    install_python()
    install_js()
