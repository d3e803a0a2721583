"""The real server as an operator runs it: processes of its own, a data folder and a database of its own, free ports."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from tests.backends import Backend, free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30
STOP_SECONDS = 30
COMMANDS = {
    "uvicorn": lambda port: ["serve", "--bind", f"127.0.0.1:{port}"],
    "daphne": lambda port: ["runserver", "--noreload", f"127.0.0.1:{port}"],
}


@dataclass
class Deployment:
    """A data folder and a database: any number of servers can be started on them, one after the other or together.

    `wrapper`: a command that takes a server's as its arguments.
    """

    folder: Path
    environment: dict[str, str]
    servers: list["Server"] = field(default_factory=list)
    wrapper: Sequence[str] = ()

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end; its standard output and error are text."""
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment | environment, capture_output=True, text=True, timeout=60, check=False
        )

    def quickstart(self, *arguments: str) -> dict[str, str]:
        """`manage.py quickstart --json`: instance, account_key, api_key, base_url."""
        done = self.manage("quickstart", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        answer: dict[str, str] = json.loads(done.stdout)
        return answer

    def start(self, kind: str = "uvicorn", *arguments: str, **environment: str) -> "Server":
        server = Server(self, kind, free_port(), arguments, environment)
        self.servers.append(server)
        server.start()
        return server


class Server:
    """One server process, which can be killed and started again on the same port. Its output is in `log_path`."""

    def __init__(
        self, deployment: Deployment, kind: str, port: int, arguments: Sequence[str], environment: dict[str, str]
    ) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log_path = deployment.folder / f"{kind}-{port}.log"
        self._command = [*deployment.wrapper, sys.executable, "manage.py", *COMMANDS[kind](port), *arguments]
        self._environment = deployment.environment | environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self.is_listening():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"The server did not start:\n{self.log()}")
            time.sleep(0.05)

    def is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> None:
        """SIGTERM, and wait for the end of the drain."""
        self.signal(signal.SIGTERM)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(STOP_SECONDS)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-API-KEY": key}, timeout=30)


class Template:
    """A database that has its tables and what quickstart makes; deployments start as copies of it."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend = backend
        self._deployment = self._deployment_in(folder, "template")
        migrated = self._deployment.manage("migrate", "--verbosity=0")
        assert migrated.returncode == 0, migrated.stderr
        self.credentials = self._deployment.quickstart()
        self._copies = 0

    def deploy(self, folder: Path) -> Deployment:
        self._copies += 1
        if self._backend.name == "sqlite":
            shutil.copy(self._deployment.folder / "pubsub.sqlite3", folder)
        return self._deployment_in(folder, f"copy_{self._copies}")

    def _deployment_in(self, folder: Path, database: str) -> Deployment:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PUBSUB_TEST_", "PUBSUB_TORTURE"))
        }
        # One key for all: what is sealed in the template can be opened in its copies.
        environment |= {
            "PUBSUB_DATA": str(folder),
            "SECRET_KEY": "e2e-0123456789-abcdefghijklmnopqrstuvwxyz",
            "LOG_LEVEL": "INFO",
        }
        if self._backend.name == "postgres":
            url = self._backend.environment["DATABASE_URL"]
            _create_database(url, database)
            environment |= {"DATABASE_URL": urlsplit(url)._replace(path=f"/{database}").geturl(), "REDIS_PREFIX": database}
        return Deployment(folder, environment)


def _create_database(url: str, name: str) -> None:
    source = "" if name == "template" else " TEMPLATE template"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{source}".encode())


def channel_path(instance: str, channel: str) -> str:
    return f"/v1.1/instances/{instance}/channels/{channel}/"


def whole_history(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Every message of a channel, oldest first, by following the links."""
    objects: list[dict[str, Any]] = []
    link: str | None = f"{path}history/?ordering=asc"
    while link:
        page = client.get(link).raise_for_status().json()
        objects += page["objects"]
        link = page["next"]
    return objects
