"""`manage.py serve`: the production server."""

import asyncio
import logging
import os
import re
import socket
import warnings
from argparse import SUPPRESS, ArgumentTypeError
from typing import Any

import uvicorn
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from channels_app.checks import PROCESSES_VARIABLE
from channels_app.conf import conf
from channels_app.management.database import require_migrated, require_seal_key, sole_user_of_sqlite
from channels_app.server import uvicorn_server
from channels_app.server.workers import Supervisor, Worker, bind_shared, reserve

WHAT_ELSE = (
    "several processes cannot share a SQLite log (pubsub.E001).\n"
    "Set DATABASE_URL and REDIS_URL to run more than one, or another PUBSUB_DATA to run a separate one."
)

_BIND = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):(?P<port>\d{1,5})")


def bind(text: str) -> tuple[str, int]:
    match = _BIND.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        raise ArgumentTypeError(f"{text!r} is no HOST:PORT, such as 0.0.0.0:8000 or [::1]:8000")
    return match["host"].strip("[]"), int(match["port"])


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number of processes")
    return int(text)


class Command(BaseCommand):
    help = (
        "Serve in production. SIGTERM drains: no new connections are taken, running requests are answered, live connections "
        "are asked to come back, spread over PUBSUB_DRAIN_SECONDS; a second signal ends at once. Give an orchestrator's stop "
        "timeout 10 seconds more than that. Several processes need DATABASE_URL and REDIS_URL: --workers runs them on this "
        "machine; where several machines or containers run one `serve` each, PUBSUB_PROCESSES says how many they are."
    )
    requires_system_checks = ()  # made below, with the database's

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--bind", type=bind, default=("127.0.0.1", 8000), metavar="HOST:PORT", help="default: 127.0.0.1:8000"
        )
        parser.add_argument(
            "--workers", type=count, default=1, metavar="N", help="processes that share the address; default: 1"
        )
        parser.add_argument("--access-log", action="store_true", help="log a line for each request, keys redacted")
        # How a supervisor starts its workers: the number, and the port it has reserved.
        parser.add_argument("--worker-of", type=int, nargs=2, help=SUPPRESS)

    def handle(
        self, *, bind: tuple[str, int], workers: int, access_log: bool, worker_of: tuple[int, int] | None, **_: Any
    ) -> None:
        if not worker_of:
            self._require(workers)
        log_warnings()
        config = uvicorn_server.configure(*bind, access_log=access_log)
        if worker_of:
            self._work(config, *worker_of)
        elif workers > 1:
            self._supervise(config, workers)
        else:
            with sole_user_of_sqlite(WHAT_ELSE):
                reserved(config).close()  # else uvicorn would say that the address is taken, in the middle of its start
                server = uvicorn_server.DrainingServer(config, on_listening=self._report, watching=self._watching())
                uvicorn_server.run(server)

    def _require(self, workers: int) -> None:
        """Raises CommandError, SystemCheckError or ImproperlyConfigured for what would be found out later."""
        if workers > 1:
            os.environ[PROCESSES_VARIABLE] = str(workers)
        self.check(databases=["default"])
        require_migrated()
        require_seal_key()
        connection.close()  # these were this thread's only queries

    def _supervise(self, config: uvicorn.Config, workers: int) -> None:
        self._watching_address()  # refuses a wrong value here, once
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's
        with reserved(config) as listener:
            asyncio.run(Supervisor(workers, listener.getsockname()[1]).run())

    def _work(self, config: uvicorn.Config, number: int, port: int) -> None:
        """A worker looks at nothing first: its supervisor has, and one that replaces another must not wait for the database."""
        server = Worker(config, on_listening=self._report, watching=self._watching(number))
        uvicorn_server.run(server, [bind_shared(config.host, port)])

    def _watching_address(self) -> tuple[str, int] | None:
        try:
            return bind(conf.METRICS_BIND) if conf.METRICS_BIND else None
        except ArgumentTypeError as error:
            raise CommandError(f"PUBSUB_METRICS_BIND: {error}") from None

    def _watching(self, number: int = 0) -> uvicorn_server.WatchingServer | None:
        """Worker `number` has an address of its own, so many ports further."""
        address = self._watching_address()
        if address is None:
            return None
        host, port = address[0], address[1] + number
        try:
            return uvicorn_server.WatchingServer(host, port)
        except (OSError, OverflowError) as error:  # OverflowError: no such port
            raise CommandError(f"PUBSUB_METRICS_BIND, {host}:{port}: {error}") from None

    def _report(self, address: str) -> None:
        self.stdout.write(f"Listening on {address} (process {os.getpid()})")
        self.stdout.flush()


def reserved(config: uvicorn.Config) -> socket.socket:
    try:
        return reserve(config.host, config.port)
    except OSError as error:
        raise CommandError(
            f"{config.host}:{config.port}: {str(error.strerror).partition(' (')[0]}. Choose another address: "
            "manage.py serve --bind HOST:PORT, or make run PORT=9000."
        ) from error


def log_warnings() -> None:
    """From now on Python's warnings are lines of the log, but for two that tell of nothing wrong."""
    # Nobody needs collectstatic here: WhiteNoise finds the files where the packages have them,
    warnings.filterwarnings("ignore", message="No directory at", category=UserWarning)
    # and reads them in threads.
    warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
    warnings.formatwarning = _in_one_line
    logging.captureWarnings(True)


def _in_one_line(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    return f"{category.__name__}: {' '.join(str(message).split())} ({filename}:{lineno})"
