"""NATS core: in memory, nobody is told whether a message arrived. Speaks its own line protocol over TCP, and no HTTP."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..processes import free_port, running
from .base import Running, Target

CONNECT = 'CONNECT {"verbose":%s,"pedantic":false,"lang":"c","version":"1"}\r\n'


class Nats(Target):
    name = "NATS core"
    receipt = "received by the server"
    publishes_over_http = False

    def missing(self) -> str:
        return "" if shutil.which("nats-server") else "nats-server is not installed"

    @contextmanager
    def start(self, folder: Path) -> Iterator[Running]:
        port = free_port()
        command = ["nats-server", "--addr", "127.0.0.1", "--port", str(port)]
        with running(command, port, folder / "nats.log") as server:
            yield Running(
                subscribe=[
                    *["--subscribe", f"tcp://127.0.0.1:{port}"],
                    *["--subscribe-hello", CONNECT % "false" + "SUB room 1\r\nPING\r\n", "--joined", "PONG"],
                ],
                publish=[
                    *["--publish", f"tcp://127.0.0.1:{port}", "--publish-hello", CONNECT % "true", "--answer", "+OK"],
                    *["--template", "PUB room %L\r\n%P\r\n"],
                ],
                pids=[server.pid],
            )
