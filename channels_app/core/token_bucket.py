"""Token buckets: so many takes at once, so many a second for ever; a refused take takes nothing.

`take` is the rule, in whole numbers, so that thirty are thirty: what is taken is counted in millionths of a token, time in
microseconds. `OwnBuckets` keeps buckets for this process, `SharedBuckets` in Redis, where a script is the same rule again.
Imports nothing of Django.
"""

import asyncio
import math
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import redis
import redis.asyncio
from redis.commands.core import AsyncScript

TOKEN = 1_000_000
MOST_OWN = 10_000  # buckets that are held before the full ones are looked for and dropped


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket holds `burst` tokens, at least 1, and starts full; `rate` come back each second. Rate 0: there is no limit."""

    rate: int
    burst: int


def take(limit: Limit, taken: int, elapsed: int) -> tuple[int, int]:
    """Take one token from a bucket in which `taken` was missing `elapsed` microseconds ago.

    Returns what is missing now, and after how many microseconds there will be a token: 0 when there was one, which is taken.
    """
    taken = max(0, taken - max(0, elapsed) * limit.rate)  # a clock that was set back gives and takes nothing
    over = taken + TOKEN - limit.burst * TOKEN
    return (taken, math.ceil(over / limit.rate)) if over > 0 else (taken + TOKEN, 0)


def _now() -> int:
    return time.monotonic_ns() // 1000


class OwnBuckets:
    """Buckets of this process, for any thread. `now` is a clock in microseconds."""

    def __init__(self, now: Callable[[], int] = _now) -> None:
        self._now = now
        self._lock = Lock()
        self._buckets: dict[str, tuple[Limit, int, int]] = {}  # what was missing in each, and when
        self._most = MOST_OWN

    def take(self, key: str, limit: Limit) -> int:
        """Take a token from that key's bucket. Returns 0, or after how many microseconds to ask again."""
        with self._lock:
            now = self._now()
            _, taken, since = self._buckets.get(key, (limit, 0, now))
            taken, wait = take(limit, taken, now - since)
            self._buckets[key] = (limit, taken, now)
            if len(self._buckets) > self._most:
                self._drop_full(now)
            return wait

    def _drop_full(self, now: int) -> None:
        """A full bucket is as good as none."""
        self._buckets = {
            key: (limit, taken, since)
            for key, (limit, taken, since) in self._buckets.items()
            if taken > (now - since) * limit.rate
        }
        self._most = max(MOST_OWN, 2 * len(self._buckets))

    def __len__(self) -> int:
        return len(self._buckets)

    def clear(self) -> None:
        self._buckets.clear()


# `take`, with Redis's clock for all processes. A bucket that is full again expires.
SCRIPT = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now, taken = time[1] * 1000000 + time[2], 0
local kept = redis.call('GET', KEYS[1])
if kept then
    local missing, since = string.match(kept, '^(%d+) (%d+)$')
    taken = math.max(0, missing - math.max(0, now - since) * rate)
end
local over = taken + 1000000 - burst * 1000000
if over > 0 then
    return math.ceil(over / rate)
end
taken = taken + 1000000
redis.call('SET', KEYS[1], string.format('%.0f %.0f', taken, now), 'PX', math.ceil(taken / rate / 1000))
return 0
"""


class SharedBuckets:
    """Buckets in a Redis, for all processes whose keys there have the same `prefix`. Raises RedisError when it is away."""

    def __init__(self, url: str, prefix: str, timeout: float) -> None:
        self._url = url
        self._prefix = prefix
        self._timeout = timeout
        self._client = redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        self._script = self._client.register_script(SCRIPT)
        # A connection belongs to the event loop that opened it.
        self._scripts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncScript] = weakref.WeakKeyDictionary()

    def take(self, key: str, limit: Limit) -> int:
        """As `OwnBuckets.take`."""
        return int(self._script(keys=[f"{self._prefix}{key}"], args=[limit.rate, limit.burst]))

    async def atake(self, key: str, limit: Limit) -> int:
        """As `take`, without a thread."""
        loop = asyncio.get_running_loop()
        script = self._scripts.get(loop)
        if script is None:
            timeout = self._timeout
            client = redis.asyncio.Redis.from_url(self._url, socket_timeout=timeout, socket_connect_timeout=timeout)
            script = self._scripts[loop] = client.register_script(SCRIPT)
        return int(await script(keys=[f"{self._prefix}{key}"], args=[limit.rate, limit.burst]))

    def clear(self) -> None:
        for key in self._client.scan_iter(match=f"{self._prefix}*", count=1000):
            self._client.delete(key)
