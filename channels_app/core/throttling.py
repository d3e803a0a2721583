"""Limits by the second, shared by all processes through Redis where there is one (`limits` counts).

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

from channels_app.conf import conf

from .directory import InstanceInfo
from .errors import PubSubError, Throttled

logger = logging.getLogger(__name__)

REDIS_TIMEOUT = 0.5  # seconds an answer may take
REDIS_PAUSE = 5.0  # seconds in which Redis is not asked again after it failed


def check_anonymous(address: str) -> None:
    """One request without a key from that address. Raises Throttled."""
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
def guard_login(address: str) -> Iterator[None]:
    """Around the check of a password: failures are counted. Raises Throttled, without another try, after too many."""
    if not conf.FAILED_LOGIN_RATE:
        yield
        return
    limit = _parsed(conf.FAILED_LOGIN_RATE)
    _count(limit, "failed-login", address, cost=0)
    try:
        yield
    except PubSubError:
        _counters().exceeded(limit, ("failed-login", address))
        raise


def _count(limit: limits.RateLimitItem, *whom: str, cost: int = 1) -> None:
    reset = _counters().exceeded(limit, whom, cost)
    if reset is not None:
        raise Throttled(math.ceil(reset - time.time()))


@functools.cache
def _parsed(rate: str) -> limits.RateLimitItem:
    return limits.parse(rate)


class Counters:
    """Counts in the shared storage, or, while that is away, in this process."""

    def __init__(self, shared: Storage | None) -> None:
        self._shared = FixedWindowRateLimiter(shared) if shared else None
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._away_until = 0.0

    def exceeded(self, limit: limits.RateLimitItem, whom: tuple[str, ...], cost: int = 1) -> float | None:
        """Count one (`cost` 0: only look); when that is over the limit, return when (seconds since 1970) the next may come."""
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return self._hit(self._shared, limit, whom, cost)
            except StorageError as error:
                if not self._away_until:
                    logger.warning("Redis does not count requests, each process counts for itself: %s", error)
                self._away_until = time.monotonic() + REDIS_PAUSE
        return self._hit(self._own, limit, whom, cost)

    def reset(self) -> None:
        for counter in (self._shared, self._own):
            if counter is not None:
                counter.storage.reset()

    def _hit(
        self, counter: FixedWindowRateLimiter, limit: limits.RateLimitItem, whom: tuple[str, ...], cost: int
    ) -> float | None:
        if counter.hit(limit, *whom) if cost else counter.test(limit, *whom):
            if counter is self._shared:
                self._away_until = 0.0
            return None
        return counter.get_window_stats(limit, *whom).reset_time


@functools.cache
def _counters() -> Counters:
    if not settings.REDIS_URL:
        return Counters(None)
    return Counters(
        RedisStorage(
            settings.REDIS_URL, wrap_exceptions=True, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT
        )
    )


def reset() -> None:
    """Forget all that was counted, here and in the shared storage: for tests."""
    if _counters.cache_info().currsize:
        _counters().reset()
        _counters.cache_clear()
