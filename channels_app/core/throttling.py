"""Limits by the second, shared by all processes through Redis where there is one.

Requests are counted by windows (`limits` does that), a channel's messages by token buckets (`token_bucket`).

A limit must never be why a message is lost: without Redis each process counts for itself until it is back.
"""

import functools
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import limits
from django.conf import settings
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from channels_app.conf import conf

from .directory import ChannelInfo, InstanceInfo
from .errors import PubSubError, Throttled
from .token_bucket import TOKEN, Limit, OwnBuckets, SharedBuckets

logger = logging.getLogger(__name__)

REDIS_TIMEOUT = 0.5  # seconds an answer may take
REDIS_PAUSE = 5.0  # seconds in which Redis is not asked again after it failed


def check_anonymous(address: str) -> None:
    """One request from that address to something that needs no key. Raises Throttled."""
    if conf.ANONYMOUS_RATE:
        _count(_parsed(conf.ANONYMOUS_RATE), "anonymous", address)


def check_instance(instance: InstanceInfo, *, poll: bool = False) -> None:
    """One request to the instance, whoever sends it; polls are counted apart. Raises Throttled."""
    rate = instance.poll_rate if poll else instance.request_rate
    if rate is not None:
        _count(limits.RateLimitItemPerSecond(rate), "poll" if poll else "request", str(instance.id))


def count_failed_poll(who: str) -> None:
    """One refused poll of that client, which an SDK repeats at once and for ever (wire/syncano.md §11). Raises Throttled."""
    if conf.FAILED_POLL_RATE:
        _count(_parsed(conf.FAILED_POLL_RATE), "failed-poll", who)


@contextmanager
def guard_login(address: str, failure: type[Exception] = PubSubError) -> Iterator[None]:
    """Around the check of a password: failures are counted. Raises Throttled, without another try, after too many.

    Each try counts before it is made, so that of many at once no more are made than may fail; what did not fail is given back.
    """
    if not conf.FAILED_LOGIN_RATE:
        yield
        return
    limit = _parsed(conf.FAILED_LOGIN_RATE)
    _count(limit, "failed-login", address)
    failed = False
    try:
        yield
    except failure:
        failed = True
        raise
    finally:
        if not failed:
            _counters().exceeded(limit, ("failed-login", address), cost=-1)


def check_channel(channel: ChannelInfo, limit: Limit, message: str = "") -> None:
    """One message to the channel, which takes a token from its bucket.

    Raises Throttled, with that message, when there is none: then none is taken.
    """
    if limit.rate:
        _admit(_buckets().take(str(channel.id), limit), message)


async def acheck_channel(channel: ChannelInfo, limit: Limit, message: str = "") -> None:
    """`check_channel` for coroutines: waits for Redis without a thread."""
    if limit.rate:
        _admit(await _buckets().atake(str(channel.id), limit), message)


def _admit(wait: int, message: str) -> None:
    if wait:
        raise Throttled(math.ceil(wait / TOKEN), message)


def _count(limit: limits.RateLimitItem, *whom: str) -> None:
    reset = _counters().exceeded(limit, whom)
    if reset is not None:
        raise Throttled(math.ceil(reset - time.time()))


@functools.cache
def _parsed(rate: str) -> limits.RateLimitItem:
    return limits.parse(rate)


class Breaker:
    """Whether Redis is worth asking: once it has failed, not again for a while, so that nobody waits for its timeouts."""

    def __init__(self) -> None:
        self._away_until = 0.0

    @property
    def is_closed(self) -> bool:
        return time.monotonic() >= self._away_until

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around a question to Redis, which answers or is found to be away: that is noted, and goes no further."""
        try:
            yield
            self._away_until = 0.0
        except (StorageError, RedisError) as error:
            if not self._away_until:
                logger.warning("Redis does not count requests, each process counts for itself: %s", error)
            self._away_until = time.monotonic() + REDIS_PAUSE


class Counters:
    """Counts in the shared storage, or, while that is away, in this process."""

    def __init__(self, shared: Storage | None) -> None:
        self._shared = FixedWindowRateLimiter(shared) if shared else None
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._breaker = Breaker()

    def exceeded(self, limit: limits.RateLimitItem, whom: tuple[str, ...], cost: int = 1) -> float | None:
        """Count one (`cost` -1: give it back); over the limit, return when (seconds since 1970) the next may come."""
        if self._shared is not None and self._breaker.is_closed:
            with self._breaker.guard():
                return _hit(self._shared, limit, whom, cost)
        return _hit(self._own, limit, whom, cost)

    def reset(self) -> None:
        for counter in (self._shared, self._own):
            if counter is not None:
                counter.storage.reset()


def _hit(counter: FixedWindowRateLimiter, limit: limits.RateLimitItem, whom: tuple[str, ...], cost: int) -> float | None:
    if counter.hit(limit, *whom, cost=cost):
        return None
    return counter.get_window_stats(limit, *whom).reset_time


class Buckets:
    """Token buckets in the shared storage, or, while that is away, in this process. Both methods as `OwnBuckets.take`."""

    def __init__(self, shared: SharedBuckets | None) -> None:
        self._shared = shared
        self._own = OwnBuckets()
        self._breaker = Breaker()

    def take(self, key: str, limit: Limit) -> int:
        if self._shared is not None and self._breaker.is_closed:
            with self._breaker.guard():
                return self._shared.take(key, limit)
        return self._own.take(key, limit)

    async def atake(self, key: str, limit: Limit) -> int:
        if self._shared is not None and self._breaker.is_closed:
            with self._breaker.guard():
                return await self._shared.atake(key, limit)
        return self._own.take(key, limit)

    def reset(self) -> None:
        if self._shared is not None:
            self._shared.clear()
        self._own.clear()


@functools.cache
def _counters() -> Counters:
    if not settings.REDIS_URL:
        return Counters(None)
    return Counters(
        RedisStorage(
            settings.REDIS_URL,
            key_prefix=f"{settings.REDIS_PREFIX}:limits",
            wrap_exceptions=True,
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
        )
    )


@functools.cache
def _buckets() -> Buckets:
    if not settings.REDIS_URL:
        return Buckets(None)
    return Buckets(SharedBuckets(settings.REDIS_URL, f"{settings.REDIS_PREFIX}:bucket:", REDIS_TIMEOUT))


def reset() -> None:
    """Forget all that was counted, here and in the shared storage: for tests."""
    for made in (_counters, _buckets):
        if made.cache_info().currsize:
            made().reset()
            made.cache_clear()
