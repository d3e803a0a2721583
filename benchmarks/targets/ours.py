"""Our own server as an operator runs it: `manage.py serve`, keys, permissions, validation, SQLite with FULL fsync."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..processes import ROOT, free_port, running
from .base import Running, Target


@dataclass
class OurServer(Running):
    """`urls`: one for each process; `environment`: what `manage.py` needs to reach the same data."""

    urls: tuple[str, ...] = ()
    key: str = ""
    instance: str = ""
    twilio: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def path(self, channel: str, operation: str) -> str:
        return f"/v1.1/instances/{self.instance}/channels/{channel}/{operation}/"

    def create_channel(self, name: str) -> None:
        request = urllib.request.Request(
            f"{self.urls[0]}/v1.1/instances/{self.instance}/channels/",
            json.dumps({"name": name, "custom_publish": True}).encode(),
            {"X-API-KEY": self.key, "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def subscribing(self, channel: str, query: str = "", *, at: Sequence[str] = ()) -> list[str]:
        """`at`: some of the processes; all, when none is named."""
        path = f"{self.path(channel, 'poll')}?transport=websocket{query}"
        places = [part for url in at or self.urls for part in ("--subscribe", f"ws{url.removeprefix('http')}{path}")]
        return [*places, "--subscribe-header", f"X-API-KEY: {self.key}", "--id-key", '"id":']

    def publishing(self, channel: str, *, at: Sequence[str] = ()) -> list[str]:
        places = [part for url in at or self.urls for part in ("--publish", f"{url}{self.path(channel, 'publish')}")]
        headers = ["--publish-header", "Content-Type: application/json", "--publish-header", f"X-API-KEY: {self.key}"]
        return [*places, *headers, "--template", '{"payload":%P}']

    def routes(self) -> dict[str, list[str]]:
        """How each dialect publishes; Syncano first."""
        return {"Syncano": self.publishing("lobby"), "Twilio": self._publishing_to_a_stream()}

    def _publishing_to_a_stream(self) -> list[str]:
        pair = base64.b64encode(f"{self.twilio['account_sid']}:{self.twilio['auth_token']}".encode()).decode()
        streams = f"{self.urls[0]}/v1/Services/{self.twilio['service_sid']}/Streams"
        request = urllib.request.Request(streams, b"UniqueName=benchmark", {"Authorization": f"Basic {pair}"})
        urllib.request.urlopen(request, timeout=10).close()
        headers = [f"Authorization: Basic {pair}", "Content-Type: application/x-www-form-urlencoded"]
        return [
            *("--publish", f"{streams}/benchmark/Messages", "--template", "Data=%F"),
            *(part for header in headers for part in ("--publish-header", header)),
        ]


class Ours(Target):
    name = "this server"
    receipt = "fsynced, sequenced"

    @contextmanager
    def start(self, folder: Path) -> Iterator[OurServer]:
        with self.serve(folder) as server:
            yield server

    @contextmanager
    def serve(
        self, folder: Path, environment: Mapping[str, str] | None = None, *, processes: int = 1, pinned: bool = True
    ) -> Iterator[OurServer]:
        environment = {"PUBSUB_DATA": str(folder), "PUBSUB_DRAIN_SECONDS": "0", **(environment or {})}
        _manage(environment, "migrate", "--verbosity", "0")
        made = json.loads(_manage(environment, "quickstart", "--json"))
        ports = [free_port() for _ in range(processes)]
        with ExitStack() as stack:
            started = [
                stack.enter_context(
                    running(
                        [sys.executable, "manage.py", "serve", "--bind", f"127.0.0.1:{port}"],
                        port,
                        folder / f"serve-{port}.log",
                        environment,
                        pinned=pinned,
                    )
                )
                for port in ports
            ]
            server = OurServer(
                subscribe=[],
                publish=[],
                pids=[process.pid for process in started],
                urls=tuple(f"http://127.0.0.1:{port}" for port in ports),
                key=made["api_key"],
                instance=made["instance"],
                twilio=made.get("twilio", {}),
                environment=environment,
            )
            server.subscribe, server.publish = server.subscribing("lobby"), server.publishing("lobby")
            yield server


def _manage(environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"manage.py {arguments[0]} failed:\n{done.stderr}")
    return done.stdout
