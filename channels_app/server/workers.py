"""`serve --workers N`: one process that keeps N others running, which share its address.

Each worker listens with a socket of its own, and the kernel spreads the connections over them (SO_REUSEPORT). With one socket
for all, whoever wakes first takes everything that waits: one worker would have nearly all the live connections.

A worker is the same command, executed anew: nothing is forked that has threads or connections. Its standard input is a pipe
that only its supervisor holds open; so a worker whose supervisor is gone, however that ended, hears of it and drains.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process

from .uvicorn_server import DrainingServer

logger = logging.getLogger(__name__)

STEADY_SECONDS = 30.0  # a worker that lived so long is replaced at once
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before one is replaced that did not


def reserve(host: str, port: int) -> socket.socket:
    """Bind the address, without listening, for workers to share. Raises OSError when another server has it."""
    with socket.create_server((host, port), family=_family(host)) as alone:  # one that shares would let us in
        port = alone.getsockname()[1]
    return bind_shared(host, port)


def bind_shared(host: str, port: int) -> socket.socket:
    shared = socket.socket(_family(host))
    try:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind((host, port))
    except BaseException:
        shared.close()
        raise
    return shared


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class Supervisor:
    """SIGTERM and SIGINT are passed on: the first one drains every worker, a second one ends them at once."""

    def __init__(self, count: int, port: int) -> None:
        self._count = count
        self._port = port
        self._running: set[Process] = set()
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Returns when all workers have ended after a signal."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._end)
        await asyncio.gather(*(self._keep(number) for number in range(self._count)))

    def _end(self) -> None:
        self._ending.set()
        for worker in self._running:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                worker.terminate()

    async def _keep(self, number: int) -> None:
        pause = 0.0
        while not await self._ends_within(pause):
            started = asyncio.get_running_loop().time()
            try:
                worker = await self._start(number)
            except OSError as error:  # no memory, too many processes: the other workers must not suffer for it
                trouble = f"could not be started: {error}"
            else:
                status = await worker.wait()
                self._running.discard(worker)
                trouble = f"(process {worker.pid}) ended by itself, status {status}"
            if self._ending.is_set():
                return
            if asyncio.get_running_loop().time() - started >= STEADY_SECONDS:
                pause = 0.0
            else:
                pause = min(max(FIRST_PAUSE, pause * 2), LONGEST_PAUSE)
            logger.error("Worker %d %s; another starts in %g s", number, trouble, pause)

    async def _start(self, number: int) -> Process:
        command = [sys.executable, *sys.orig_argv[1:], "--worker-of", str(number), str(self._port)]
        # A session of its own: Ctrl+C in a terminal reaches the supervisor only, which passes it on once.
        worker = await asyncio.create_subprocess_exec(*command, stdin=PIPE, start_new_session=True)
        self._running.add(worker)
        if self._ending.is_set():
            worker.terminate()
        return worker

    async def _ends_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)
        return self._ending.is_set()


class Worker(DrainingServer):
    """Drains when its supervisor is gone."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._abandoned)

    def _abandoned(self) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        logger.warning("The supervisor is gone: this worker ends as well")
        self.should_exit = True
