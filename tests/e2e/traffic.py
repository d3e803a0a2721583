"""Publishers and listeners that run in threads beside the test, through the server's front door."""

import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

from .deployment import Server


class Publishers:
    """Threads that publish, one message after the other, until `count` each or until the server goes away.

    `acknowledged` has (channel path, id, number) of each publish that was answered 201; a number is given once.
    """

    def __init__(
        self, servers: Sequence[Server], key: str, paths: Sequence[str], *, threads: int, count: int = 1_000_000
    ) -> None:
        self.acknowledged: list[tuple[str, int, int]] = []
        self.refused: list[httpx.Response] = []
        self._numbers = itertools.count(1)
        self._count = count
        self._stopped = False
        self._progress = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(servers[index % len(servers)], key, paths[index % len(paths)]))
            for index in range(threads)
        ]

    def start(self) -> "Publishers":
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> "Publishers":
        """Each thread ends with the publish that it is at."""
        self._stopped = True
        return self

    def join(self) -> "Publishers":
        for thread in self._threads:
            thread.join()
        return self

    def wait_for(self, acknowledged: int) -> None:
        with self._progress:
            assert self._progress.wait_for(lambda: len(self.acknowledged) >= acknowledged or self.refused, timeout=60)

    def _run(self, server: Server, key: str, path: str) -> None:
        with server.client(key) as client:
            for _ in range(self._count):
                if self._stopped:
                    return
                number = next(self._numbers)
                try:
                    response = client.post(f"{path}publish/", json={"payload": {"number": number}})
                except httpx.TransportError:
                    return  # the server is gone; whether it stored this one is unknown
                with self._progress:
                    if response.status_code == 201:
                        self.acknowledged.append((path, response.json()["id"], number))
                    else:
                        self.refused.append(response)
                    self._progress.notify_all()


class Listener:
    """A WebSocket that keeps what it hears, in a thread, until it has `count` messages or is closed."""

    def __init__(self, server: Server, key: str, path: str, *, count: int = 1_000_000, last_id: int = 0) -> None:
        self.messages: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self._url = f"{server.url.replace('http', 'ws', 1)}{path}poll/?transport=websocket&last_id={last_id}&api_key={key}"
        self._count = count
        self._socket: websockets.sync.client.ClientConnection | None = None
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._connected.wait(30)

    @property
    def ids(self) -> list[int]:
        return [message["id"] for message in self.messages]

    def join(self, timeout: float = 30) -> "Listener":
        """Wait for its end; past the timeout it is closed with what it has."""
        self._thread.join(timeout)
        if self._thread.is_alive() and self._socket is not None:
            self._socket.close()
            self._thread.join()
        return self

    def _run(self) -> None:
        with websockets.sync.client.connect(self._url) as self._socket:
            self._connected.set()
            try:
                while len(self.messages) < self._count:
                    self.messages.append(json.loads(self._socket.recv()))
            except ConnectionClosed as closed:
                self.close_code = closed.rcvd.code if closed.rcvd else None
