"""Requests that this server sends to others (webhooks, push): the one module with an HTTP client.

Nobody ever waits for one: `send` takes it and returns. It is tried a few times with growing pauses, so a receiver may get one
twice; what does not fit the queue, or is refused for good, is dropped with a line in the log and a number in the metrics.

A tenant chooses where requests go, so they go to public addresses only, unless `conf.PUSH_NETWORKS` says otherwise. That is
looked at where a connection is made, the only place that knows the address whatever a name resolves to; redirects are not
followed, and no proxy is used. The name server is the tenant's as well, and nothing else here waits for it.
"""

import asyncio
import contextlib
import logging
import socket
import weakref
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from channels_app.conf import conf

from . import metrics
from .addresses import may_connect, networks
from .backoff import pauses

logger = logging.getLogger(__name__)

OWNERS_SHARE = 5  # one owner may have this part of the queue and of the connections: dead receivers stop nobody else's
TELL_SECONDS = 10.0  # between two lines about what was dropped for an owner: it may be thousands, when all clients leave
CONNECTIONS, CONNECTIONS_PER_HOST = 100, 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds
RETRYABLE = frozenset({408, 425, 429, *range(500, 600)})


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST. `owner` says for whom, as in "account 5": whoever may make more receivers of their own, all in one share."""

    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    owner: str

    @property
    def host(self) -> str:
        """For logs: the rest of an address may hold secrets."""
        try:
            return urlsplit(self.url).hostname or "nobody"
        except ValueError:
            return "nobody"


class NotPublic(OSError):
    """An address that requests may not go to."""


class Refused(Exception):
    """It was not taken, and trying again would change nothing."""


class Failed(Exception):
    """It was not taken this time."""


@dataclass(slots=True)
class Share:
    """What an owner has of a courier: how many deliveries wait, and its turns to try one."""

    turns: asyncio.Semaphore
    waiting: int = 0


class Courier:
    """Sends the deliveries of one event loop."""

    def __init__(self) -> None:
        self._preparing: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self._shares: dict[str, Share] = {}  # by owner
        self._untold: dict[str, int] = {}  # by owner: how many were dropped since a line told of one
        self._session: aiohttp.ClientSession | None = None
        self._resolver: aiohttp.AsyncResolver | None = None  # the other one blocks threads, which Django needs for its log

    def send(self, delivery: Delivery) -> None:
        share = self._shares.get(delivery.owner) or Share(asyncio.Semaphore(max(1, CONNECTIONS // OWNERS_SHARE)))
        if len(self._tasks) >= conf.PUSH_QUEUE or share.waiting >= max(1, conf.PUSH_QUEUE // OWNERS_SHARE):
            self._drop(delivery, "too many are waiting")
            return
        self._shares[delivery.owner] = share
        share.waiting += 1
        _start(self._carry(delivery, share), self._tasks)

    def prepare(self, work: Coroutine[Any, Any, None]) -> None:
        _start(work, self._preparing)

    async def pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()

    async def close(self, seconds: float) -> None:
        """Have done what waits in a pause, give all of it that long, then drop it."""
        self._ending.set()
        end = asyncio.get_running_loop().time() + seconds
        if unprepared := await _finish(self._preparing, end):
            metrics.PUSHES_DROPPED.inc(unprepared)
            logger.warning("%d requests were dropped before they were made: the server is ending", unprepared)
        await _finish(self._tasks, end)
        for owner in list(self._untold):
            self._tell(owner)
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    async def _carry(self, delivery: Delivery, share: Share) -> None:
        try:
            await self._try_repeatedly(delivery, share.turns)
            metrics.PUSHES_DELIVERED.inc()
        except (Refused, Failed) as error:
            self._drop(delivery, str(error))
        except asyncio.CancelledError:
            self._drop(delivery, "the server is ending")
            raise
        finally:
            share.waiting -= 1
            if not share.waiting:
                del self._shares[delivery.owner]

    async def _try_repeatedly(self, delivery: Delivery, turns: asyncio.Semaphore) -> None:
        """Raises Refused, or the last Failed."""
        for pause in pauses(conf.PUSH_ATTEMPTS, first=FIRST_PAUSE, most=LONGEST_PAUSE):
            try:
                async with turns:
                    return await self._try(delivery)
            except Failed:
                metrics.PUSHES_RETRIED.inc()
                await asyncio.sleep(pause)
        async with turns:
            await self._try(delivery)

    async def _try(self, delivery: Delivery) -> None:
        request = self._open_session().post(delivery.url, data=delivery.body, headers=delivery.headers, allow_redirects=False)
        try:
            async with request as response:
                status = response.status
        except aiohttp.InvalidURL:
            raise Refused("its address is none") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, NotPublic):
                raise Refused(str(error.os_error)) from None
            raise Failed(str(error.os_error)) from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Failed(type(error).__name__) from None  # its text may have the whole address, and what the receiver sent
        if not 200 <= status < 300:
            raise Failed(f"the answer was {status}") if status in RETRYABLE else Refused(f"the answer was {status}")

    def _drop(self, delivery: Delivery, why: str) -> None:
        metrics.PUSHES_DROPPED.inc()
        if delivery.owner in self._untold:
            self._untold[delivery.owner] += 1
            return
        logger.warning("A request to %s for %s was dropped: %s", delivery.host, delivery.owner, why)
        self._untold[delivery.owner] = 0
        asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell, delivery.owner)

    def _tell(self, owner: str) -> None:
        if count := self._untold.pop(owner, 0):
            logger.warning("%d more requests for %s were dropped", count, owner)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._resolver = aiohttp.AsyncResolver()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS,
                    limit_per_host=CONNECTIONS_PER_HOST,
                    resolver=self._resolver,
                    socket_factory=_open_socket,
                ),
                timeout=aiohttp.ClientTimeout(total=conf.PUSH_TIMEOUT),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


def _start(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    """As a task that is among the others until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _finish(tasks: set[asyncio.Task[None]], end: float) -> int:
    """Give them until then, by the event loop's clock. How many had to be cancelled."""
    if not tasks:
        return 0
    _, late = await asyncio.wait(set(tasks), timeout=max(0.0, end - asyncio.get_running_loop().time()))
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return len(late)


def _open_socket(address: Any) -> socket.socket:
    """For a connection to that address (as `getaddrinfo` gives it): the one place where it is certain. Raises NotPublic."""
    family, kind, protocol, _, (host, *_) = address
    if not may_connect(host, networks(conf.PUSH_NETWORKS)):
        raise NotPublic("its address is not public, and not in PUBSUB_PUSH_NETWORKS")
    return socket.socket(family, kind, protocol)


_couriers: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Courier]" = weakref.WeakKeyDictionary()


def send(delivery: Delivery) -> None:
    """Have it sent, from a coroutine of this event loop. Never waits, never raises."""
    _courier().send(delivery)


def prepare(work: Coroutine[Any, Any, None]) -> None:
    """Have work begun that may end in a `send`: before the server ends, it is waited for as well."""
    _courier().prepare(work)


async def pause(seconds: float) -> None:
    """Wait that long in such work, or until the server ends."""
    await _courier().pause(seconds)


async def close(seconds: float) -> None:
    """Before the event loop ends: give what is prepared or on its way that long."""
    loop = asyncio.get_running_loop()
    if loop in _couriers:
        await _couriers[loop].close(seconds)
        _couriers.pop(loop, None)


def _courier() -> Courier:
    loop = asyncio.get_running_loop()
    if loop not in _couriers:
        _couriers[loop] = Courier()
    return _couriers[loop]
