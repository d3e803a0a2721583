"""The Channels tutorial shape, under Daphne (`benchmarks/baseline`)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..processes import ROOT, free_port, running
from .base import Running, Target

SETTINGS = "benchmarks.baseline.settings"


class Baseline(Target):
    name = "Channels tutorial"
    receipt = "fsynced"
    most_subscribers = 1_000
    rate = 2.0

    @contextmanager
    def start(self, folder: Path) -> Iterator[Running]:
        port = free_port()
        environment = {"BASELINE_DATABASE": str(folder / "baseline.sqlite3"), "DJANGO_SETTINGS_MODULE": SETTINGS}
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"],
            cwd=ROOT,
            env=os.environ | environment,
            check=True,
        )
        daphne = [sys.executable, "-m", "daphne", "--verbosity", "0", "-b", "127.0.0.1", "-p", str(port)]
        with running([*daphne, "benchmarks.baseline.asgi:application"], port, folder / "daphne.log", environment) as server:
            yield Running(
                subscribe=["--subscribe", f"ws://127.0.0.1:{port}/ws/lobby/"],
                publish=[
                    *["--publish", f"http://127.0.0.1:{port}/rooms/lobby/messages/"],
                    *["--publish-header", "Content-Type: application/json", "--template", '{"payload":%P}'],
                ],
                pids=[server.pid],
            )
