"""Server processes: started on a free loopback port, pinned to a processor of their own, measured, and ended."""

import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30.0
STOP_SECONDS = 10.0

# With two processors or more, one is the load generator's: it must not take the server's time.
CPUS = sorted(os.sched_getaffinity(0))
GENERATOR_CPUS = {CPUS[-1]}
SERVER_CPUS = {CPUS[0]}


class DidNotStart(Exception):
    """The server ended, or did not listen in time; the text has what it wrote."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare_child(cpus: set[int]) -> None:
    """Runs in the child: its processors, and as many open files as may be."""
    os.sched_setaffinity(0, cpus)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def running(
    command: Sequence[str | Path], port: int, log: Path, environment: Mapping[str, str] | None = None, *, pinned: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """The server while it listens on the port; `log` takes what it writes."""
    cpus = SERVER_CPUS if pinned else set(CPUS)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdout=output,
            stderr=output,
            preexec_fn=lambda: prepare_child(cpus),
        )
    try:
        _wait_until_listening(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise DidNotStart(log.read_text(errors="replace")[-2000:])


def memory(pids: Sequence[int]) -> int:
    """The bytes that the processes hold, memory that they share counted once (PSS)."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


class Peak:
    """Watches the memory of processes; `highest` is the most it saw."""

    def __init__(self, pids: Sequence[int], interval: float = 0.05) -> None:
        self._pids = pids
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.highest = memory(pids)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
        return self.highest

    def _watch(self) -> None:
        while not self._ended.wait(self._interval):
            self.highest = max(self.highest, memory(self._pids))
