"""Many clients in one event loop, each as good as a client should be: whatever happens to the server, they come back.

`Follower` resumes from the last id it has; `Publisher` sends a message, with one Idempotency-Key, until it is acknowledged.
`tally` compares what was acknowledged, what is stored and what each follower has.
"""

import asyncio
import itertools
import json
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .deployment import Server, whole_history

logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request would bury what a failed test has to say

PATIENCE = 60.0  # seconds for everybody to have everything


class Follower:
    """`ids` in the order in which they came; `heard`: when each did, in monotonic seconds.

    `closes`: (monotonic seconds, code) of each socket that ended, 1006 if it was cut off. `refusals`: HTTP statuses.
    """

    def __init__(self, server: Server, key: str, path: str, *, pause: float = 0.2) -> None:
        self.ids: list[int] = []
        self.heard: list[float] = []
        self.closes: list[tuple[float, int]] = []
        self.refusals: list[int] = []
        self.connections = 0
        self._url = f"{server.url.replace('http', 'ws', 1)}{path}poll/?transport=websocket&api_key={key}&last_id="
        self._pause = pause
        self._socket: websockets.asyncio.client.ClientConnection | None = None

    @property
    def last_id(self) -> int:
        return self.ids[-1] if self.ids else 0

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    async def follow(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._listen()
            except InvalidStatus as refused:
                self.refusals.append(refused.response.status_code)
            except ConnectionClosed as closed:
                self.closes.append((time.monotonic(), closed.rcvd.code if closed.rcvd else 1006))
            except (OSError, TimeoutError, InvalidHandshake):
                pass  # nobody listens there yet
            await asyncio.sleep(self._pause * random.random())

    async def _listen(self) -> None:
        url = f"{self._url}{self.last_id}"
        connecting = websockets.asyncio.client.connect(url, compression=None, ping_interval=None, open_timeout=30)
        async with connecting as self._socket:
            self.connections += 1
            try:
                while True:
                    self.ids.append(json.loads(await self._socket.recv())["id"])
                    self.heard.append(time.monotonic())
            finally:
                self._socket = None

    def cut(self) -> None:
        """End the connection without a word."""
        if self._socket is not None:
            self._socket.transport.abort()


@dataclass(frozen=True)
class Answer:
    """To one attempt to publish; status 0: none came."""

    at: float  # monotonic seconds
    seconds: float
    status: int
    retry_after: str = ""


class Publisher:
    """Publishes numbers, one after the other, over one connection. `acknowledged`: (id, number, monotonic seconds) of each."""

    def __init__(self, name: str, server: Server, key: str, path: str) -> None:
        self.acknowledged: list[tuple[int, str, float]] = []
        self.answers: list[Answer] = []
        self._name = name
        self._server = server
        self._key = key
        self._url = f"{path}publish/"

    async def publish(self, until: asyncio.Event, count: int = 1_000_000, size: int = 0) -> None:
        """Up to `count` messages, each with `size` bytes of padding; ends before the next one once `until` is set."""
        headers = {"X-API-KEY": self._key}
        async with httpx.AsyncClient(base_url=self._server.url, headers=headers, timeout=60) as client:
            for number in range(count):
                if until.is_set():
                    return
                await self._insist(client, f"{self._name}-{number}", {"padding": "x" * size} if size else {})

    async def _insist(self, client: httpx.AsyncClient, number: str, more: dict[str, str]) -> None:
        while True:
            started = time.monotonic()
            try:
                response = await client.post(
                    self._url, json={"payload": {"number": number, **more}}, headers={"Idempotency-Key": number}
                )
            except httpx.TransportError:
                self.answers.append(Answer(time.monotonic(), time.monotonic() - started, 0))
                await asyncio.sleep(0.1)
                continue
            now = time.monotonic()
            self.answers.append(Answer(now, now - started, response.status_code, response.headers.get("Retry-After", "")))
            if response.status_code in (200, 201):
                self.acknowledged.append((response.json()["id"], number, now))
                return
            await asyncio.sleep(0.1)  # sooner than it was told to: the server is to be met at its worst


@dataclass
class Swarm:
    """Followers and publishers on one channel of one server."""

    server: Server
    key: str
    path: str
    followers: list[Follower] = field(default_factory=list)
    publishers: list[Publisher] = field(default_factory=list)

    @asynccontextmanager
    async def following(self, count: int, *, pause: float = 0.2) -> AsyncIterator[list[Follower]]:
        """That many followers, all connected."""
        self.followers = [Follower(self.server, self.key, self.path, pause=pause) for _ in range(count)]
        tasks = [asyncio.create_task(follower.follow()) for follower in self.followers]
        try:
            await self.connected()
            yield self.followers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def publishing(self, count: int) -> AsyncIterator[list[Publisher]]:
        """That many publishers; at the end all that they began is acknowledged."""
        stop = asyncio.Event()
        self.publishers = [Publisher(f"publisher-{n}", self.server, self.key, self.path) for n in range(count)]
        tasks = [asyncio.create_task(publisher.publish(stop)) for publisher in self.publishers]
        try:
            yield self.publishers
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    async def connected(self) -> None:
        await _until(lambda: all(follower.is_connected for follower in self.followers), "not all followers are connected")

    async def acknowledged(self, more: int) -> None:
        """Wait until that many more publishes have been acknowledged."""
        goal = self._acknowledged + more
        await _until(lambda: self._acknowledged >= goal, "the publishes are not answered")

    async def caught_up(self) -> None:
        """Wait until every follower has the newest message that was acknowledged."""
        newest = max(id_ for publisher in self.publishers for id_, *_ in publisher.acknowledged)
        await _until(lambda: all(f.last_id >= newest for f in self.followers), "not all followers have everything")

    @property
    def _acknowledged(self) -> int:
        return sum(len(publisher.acknowledged) for publisher in self.publishers)

    @property
    def answers(self) -> list[Answer]:
        return [answer for publisher in self.publishers for answer in publisher.answers]

    @property
    def statuses(self) -> dict[int, int]:
        return dict(sorted(Counter(answer.status for answer in self.answers).items()))

    @property
    def close_codes(self) -> dict[int, int]:
        return dict(sorted(Counter(code for follower in self.followers for _, code in follower.closes).items()))

    @property
    def delays(self) -> list[float]:
        """Seconds between each acknowledgement and each follower's hearing of that message, the longest last."""
        acknowledged = {id_: at for publisher in self.publishers for id_, _, at in publisher.acknowledged}
        heard = ((id_, at) for follower in self.followers for id_, at in zip(follower.ids, follower.heard, strict=True))
        return sorted(at - acknowledged[id_] for id_, at in heard)

    def tally(self) -> str:
        """Assert that nothing is lost, repeated or out of order; return the figures in a line."""
        with self.server.client(self.key) as client:
            stored = {m["id"]: m["payload"]["number"] for m in whole_history(client, self.path)}
        acknowledged = [each for publisher in self.publishers for each in publisher.acknowledged]
        lost = [id_ for id_, number, _ in acknowledged if stored.get(id_) != number]
        twice = len(stored) - len(set(stored.values()))
        missing = sum(len(stored.keys() - set(follower.ids)) for follower in self.followers)
        repeated = sum(len(follower.ids) - len(set(follower.ids)) for follower in self.followers)
        unordered = sum(_descents(follower.ids) for follower in self.followers)
        figures = (
            f"acknowledged {len(acknowledged)} and lost {len(lost)}, stored {len(stored)} and twice {twice};"
            f" {len(self.followers)} followers: missing {missing}, repeated {repeated}, out of order {unordered}"
        )
        assert not any([lost, twice, missing, repeated, unordered]), figures
        assert sorted(stored) == list(range(1, len(stored) + 1)), "the ids have holes"
        return figures


def _descents(ids: Sequence[int]) -> int:
    return sum(after < before for before, after in itertools.pairwise(ids))


async def _until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, otherwise
        await asyncio.sleep(0.02)
