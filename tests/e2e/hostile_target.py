"""The server that takes it: one connection per attempt, straight on a socket, and what it may never answer."""

import contextlib
import http.client
import json
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from .deployment import Deployment, Server, channel_path
from .hostile_requests import SPARE, Attempt
from .rows import channel_id, count, messages_in

PATIENCE = 20  # seconds for an answer
NO_HTTP = b"Invalid HTTP request received."  # the server's own, to what no dialect gets to see


@dataclass
class Answer:
    status: int
    content_type: str
    body: bytes


@dataclass
class Target:
    """A deployment with a watched instance, a spare one, and one server."""

    deployment: Deployment
    server: Server
    watched: str
    keys: dict[str, str]
    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)  # acknowledged publishes, by channel
    _log_seen: int = 0

    @classmethod
    def prepare(cls, deployment: Deployment, server: Server, credentials: dict[str, str]) -> "Target":
        target = cls(deployment, server, credentials["instance"], {"none": ""})
        target.keys |= {"account": credentials["account_key"], "api": credentials["api_key"]}
        with target.administrator() as client:
            keys = client.post(f"/v1.1/instances/{target.watched}/api_keys/", json={"description": "plain"})
            target.keys["plain"] = keys.raise_for_status().json()["api_key"]
            halls = {"name": "halls", "type": "separate_rooms", "custom_publish": True}
            client.post(f"/v1.1/instances/{target.watched}/channels/", json=halls).raise_for_status()
        target.furnish_spare()
        return target

    def administrator(self) -> httpx.Client:
        return self.server.client(self.keys["account"])

    def furnish_spare(self) -> None:
        """Make the spare instance and a few things in it, unless they are there."""
        with self.administrator() as client:
            if client.post("/v1.1/instances/", json={"name": SPARE}).status_code != 201:
                return
            for index in range(4):
                client.post(f"/v1.1/instances/{SPARE}/channels/", json={"name": f"made{index}", "custom_publish": True})
                client.post(f"/v1.1/instances/{SPARE}/groups/", json={"label": f"group {index}"})
                client.post(f"/v1.1/instances/{SPARE}/api_keys/", json={})
            client.post(f"/v1.1/instances/{SPARE}/channels/", json={"name": "lobby", "custom_publish": True})
            client.post(f"/v1.1/instances/{SPARE}/users/", json={"username": "ciri", "password": "x"})

    # Sending

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)

    def attempt(self, attempt: Attempt) -> Answer | None:
        self.sent["requests"] += 1
        answer = self.exchange(
            attempt.encode(self.keys.get(attempt.key, attempt.key)), attempt.method, attempt.framing == "long"
        )
        self.statuses[str(answer.status) if answer else "no answer"] += 1
        if answer and answer.status == 201 and attempt.path.endswith("/publish/"):
            stored_in = json.loads(answer.body)["links"]["self"].split("/history/")[0] + "/"
            self.stored[stored_in] += 1
        if answer and attempt.method in ("DELETE", "POST") and answer.status in (200, 204):
            self.furnish_spare()
        return answer

    def exchange(self, data: bytes, method: str = "GET", hang_up: bool = False) -> Answer | None:
        """Send the bytes as they are; None when the server closes the connection without an answer."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # it may answer, and close, before it has read all
                connection.sendall(data)
            if hang_up:
                _hang_up(connection)
            response = http.client.HTTPResponse(connection, method=method)
            try:
                response.begin()
                content_type = response.getheader("Content-Type", "")
                endless = content_type.startswith("text/event-stream")
                return Answer(response.status, content_type, b"" if endless else response.read())
            except (ConnectionError, http.client.BadStatusLine):
                return None

    def converse(
        self,
        path: str,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
        frames: bytes,
        enough: Callable[[bytes], bool] = lambda received: True,
    ) -> bytes:
        """Ask for a socket, send the frames whatever the answer is, hang up; all that came back until the end.

        `enough`: whether what has come back is all that the client waits for before it hangs up.
        """
        self.sent["conversations"] += 1
        lines = [b"GET %b?%b HTTP/1.1" % (path.encode(), query), b"Host: 127.0.0.1", *(b"%b: %b" % each for each in headers)]
        received = b""
        with self.connect() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
            received += connection.recv(65_536)
            connection.sendall(frames)
            while not enough(received) and (piece := connection.recv(65_536)):
                received += piece
            _hang_up(connection)
            while piece := connection.recv(65_536):
                received += piece
        self.statuses[received.split(b" ", 2)[1].decode() if received.startswith(b"HTTP/") else "no answer"] += 1
        return received

    # What is left behind

    def new_log(self) -> str:
        """What the server logged since the last call."""
        log = self.server.log()
        new, self._log_seen = log[self._log_seen :], len(log)
        return new

    def check_unharmed(self) -> None:
        """The log holds what was acknowledged and nothing else, nothing is half made, and the next id is the next."""
        with self.administrator() as client:
            for name, room in (("lobby", None), ("halls", "kitchen")):
                path = channel_path(self.watched, name)
                stored = messages_in(self.deployment, channel_id(self.deployment, self.watched, name))
                assert stored == self.stored[path]
                published = client.post(f"{path}publish/", json={"payload": {}} | ({"room": room} if room else {}))
                assert published.status_code == 201, published.text
                assert published.json()["id"] == stored + 1
                self.stored[path] += 1
        for description, sql in HALF_MADE.items():
            assert count(self.deployment, sql) == 0, description

    def report(self) -> str:
        return f"sent {dict(self.sent)}, answers {dict(sorted(self.statuses.items()))}, messages stored {self.stored.total()}"


def _hang_up(connection: socket.socket) -> None:
    """Say that nothing more will come."""
    with contextlib.suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_WR)


HALF_MADE = {
    "an instance without its built-in channels": (
        "SELECT COUNT(*) FROM channels_app_instance i WHERE 2 <> (SELECT COUNT(*) FROM channels_app_channel c"
        " WHERE c.instance_id = i.id AND c.name IN ('default', 'eventlog'))"
    ),
    "a channel without a counter": (
        "SELECT COUNT(*) FROM channels_app_channel c LEFT JOIN channels_app_counter k ON k.channel_id = c.id"
        " WHERE k.channel_id IS NULL"
    ),
    "a counter without a channel": (
        "SELECT COUNT(*) FROM channels_app_counter k LEFT JOIN channels_app_channel c ON c.id = k.channel_id WHERE c.id IS NULL"
    ),
    "an id that was burnt": (
        "SELECT COUNT(*) FROM channels_app_counter k WHERE k.last_id <>"
        " (SELECT COUNT(*) FROM channels_app_message m WHERE m.channel_id = k.channel_id)"
    ),
    "an account without its key": (
        "SELECT COUNT(*) FROM auth_user u LEFT JOIN channels_app_administrator a ON a.user_id = u.id WHERE a.id IS NULL"
    ),
}


def is_wire_error(answer: Answer) -> bool:
    """Whether the body is what the SDKs can read: an object of texts, or of lists of texts (wire/syncano.md §1)."""
    if not answer.content_type.startswith("application/json"):
        return False
    body: Any = json.loads(answer.body)
    return isinstance(body, dict) and bool(body) and all(map(_is_text_or_texts, body.values()))


def _is_text_or_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
