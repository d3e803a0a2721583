"""`manage.py serve`: the production server."""

import fcntl
import re
import warnings
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from channels_app.conf import conf
from channels_app.management.database import require_migrated
from channels_app.server import uvicorn_server

_BIND = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+):(?P<port>\d{1,5})")


def bind(text: str) -> tuple[str, int]:
    match = _BIND.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        raise ArgumentTypeError(f"{text!r} is no HOST:PORT, such as 0.0.0.0:8000 or [::1]:8000")
    return match["host"].strip("[]"), int(match["port"])


class Command(BaseCommand):
    help = (
        "Serve in production. SIGTERM drains: no new connections are taken, running requests are answered, live connections "
        "are asked to come back, spread over PUBSUB_DRAIN_SECONDS; a second signal ends at once. Give an orchestrator's stop "
        "timeout 10 seconds more than that. To use several processes set DATABASE_URL and REDIS_URL, and start one "
        "`serve` for each, with PUBSUB_PROCESSES saying how many they are."
    )
    requires_system_checks = ()  # made below, with the database's

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--bind", type=bind, default=("127.0.0.1", 8000), metavar="HOST:PORT", help="default: 127.0.0.1:8000"
        )
        parser.add_argument("--access-log", action="store_true", help="log a line for each request, keys redacted")

    def handle(self, *, bind: tuple[str, int], access_log: bool, **_: Any) -> None:
        self.check(databases=["default"])
        require_migrated()
        # Nobody needs collectstatic here: WhiteNoise finds the files where the packages have them.
        warnings.filterwarnings("ignore", message="No directory at", category=UserWarning)
        with sole_user_of_sqlite():
            server = uvicorn_server.configure(*bind, access_log=access_log)
            uvicorn_server.run(server, on_listening=self._report, watching=self._watching())

    def _watching(self) -> uvicorn.Config | None:
        try:
            return uvicorn_server.configure_watching(*bind(conf.METRICS_BIND)) if conf.METRICS_BIND else None
        except ArgumentTypeError as error:
            raise CommandError(f"PUBSUB_METRICS_BIND: {error}") from None

    def _report(self, address: str) -> None:
        self.stdout.write(f"Listening on {address}")
        self.stdout.flush()


@contextmanager
def sole_user_of_sqlite() -> Iterator[None]:
    """One server for one SQLite file: holds the lock beside it, which the kernel frees with the process, however that ends."""
    database = settings.DATABASES["default"]
    if not database["ENGINE"].endswith("sqlite3"):
        yield
        return
    with Path(f"{database['NAME']}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Another server uses {database['NAME']}: several processes cannot share a SQLite log (pubsub.E001).\n"
                "Set DATABASE_URL and REDIS_URL to run more than one, or another PUBSUB_DATA to run a separate one."
            ) from None
        yield
