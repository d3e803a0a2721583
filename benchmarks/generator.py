"""Runs the load generator (`load.c`) and reads what it found."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import GENERATOR_CPUS, ROOT, prepare_child

SOURCES = [Path(__file__).with_name(name) for name in ("load.c", "measure.h")]
PROGRAM = ROOT / "build" / "load"
BUSY = 0.9  # above this share of its processor the generator may be what limits a figure


class LoadFailed(Exception):
    """The generator gave up; the text says why."""


@dataclass(frozen=True)
class Load:
    """What one run of the generator found. Times in seconds or, where the name says so, in milliseconds."""

    values: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.values[name]

    @property
    def deliveries_per_second(self) -> float:
        return self.values["received"] / max(self.values["delivering_s"], 1e-9)

    @property
    def answers_per_second(self) -> float:
        return self.values["answered"] / max(self.values["publishing_s"], 1e-9)

    @property
    def faults(self) -> dict[str, int]:
        """What must not be, by its name; empty when every subscriber had everything once and in order."""
        names = ("failed", "closed", "missing", "repeated", "skipped", "holes", "bad_answers")
        found = {name: self.values[name] for name in names if self.values[name]}
        unanswered = self.values["published"] - self.values["answered"]
        return found | ({"unanswered": unanswered} if unanswered else {})


def build() -> None:
    """Compile it when the source is newer. Raises LoadFailed without a C compiler."""
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= max(source.stat().st_mtime for source in SOURCES):
        return
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise LoadFailed("The load generator is a C program: install a C compiler (Debian, Ubuntu: apt install gcc libc6-dev).")
    PROGRAM.parent.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", str(PROGRAM), str(SOURCES[0])], check=True)


def run(arguments: Sequence[str | int | float], on_event: Callable[[str], None] = lambda event: None) -> Load:
    """Run it to its end; `on_event` is told of "ready" and "published" when they happen."""
    command = [str(PROGRAM), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_prepare) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            found = json.loads(line)
            if found["event"] == "result":
                return Load(found)
            on_event(found["event"])
        raise LoadFailed(process.stderr.read().decode(errors="replace").strip() or "it ended without a result")


def _prepare() -> None:
    prepare_child(GENERATOR_CPUS)
