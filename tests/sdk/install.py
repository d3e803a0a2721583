"""Puts the vendors' SDKs, unmodified, under build/sdk/; does nothing when they are there. Standard library only.

The JavaScript one needs node and npm: without them it is left out, and its tests say that they do not apply.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "build" / "sdk"
PYTHON_FOLDER = FOLDER / "python"
JS_FOLDER = FOLDER / "js"
JS_PACKAGE = "syncano@1.0.30"  # the newest of 1.x; 2.x speaks another dialect


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
    stamp = JS_FOLDER / "installed.txt"
    if stamp.exists() and stamp.read_text() == JS_PACKAGE:
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("The JavaScript SDK is left out: node and npm are not installed.")
        return
    JS_FOLDER.mkdir(parents=True, exist_ok=True)
    quiet = ["--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    subprocess.run([npm, "install", "--prefix", str(JS_FOLDER), *quiet, JS_PACKAGE], check=True)
    stamp.write_text(JS_PACKAGE)


if __name__ == "__main__":
    install_python()
    install_js()
