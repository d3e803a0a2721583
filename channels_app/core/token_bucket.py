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
MOST_ASKED = 500  # takes in one question to Redis, which does nothing else meanwhile


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket holds `burst` tokens, at least 1, and starts full; `rate` come back each second. Rate 0: there is no limit."""

    rate: int
    burst: int


UNLIMITED = Limit(0, 0)


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


# `take` for each key in turn, with Redis's clock for all processes. A bucket that is full again expires.
SCRIPT = """
local time = redis.call('TIME')
local now, waits = time[1] * 1000000 + time[2], {}
for i, key in ipairs(KEYS) do
    local rate, burst, taken = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i]), 0
    local kept = redis.call('GET', key)
    if kept then
        local missing, since = string.match(kept, '^(%d+) (%d+)$')
        taken = math.max(0, missing - math.max(0, now - since) * rate)
    end
    taken = taken + 1000000
    local over = taken - burst * 1000000
    if over > 0 then
        waits[i] = math.ceil(over / rate)
    else
        waits[i] = 0
        redis.call('SET', key, string.format('%.0f %.0f', taken, now), 'PX', math.ceil(taken / rate / 1000))
    end
end
return waits
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
        self._askers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Asker] = weakref.WeakKeyDictionary()

    def take(self, key: str, limit: Limit) -> int:
        """As `OwnBuckets.take`."""
        return int(self._script(keys=[f"{self._prefix}{key}"], args=[limit.rate, limit.burst])[0])

    async def atake(self, key: str, limit: Limit) -> int:
        """As `take`, without a thread."""
        loop = asyncio.get_running_loop()
        asker = self._askers.get(loop)
        if asker is None:
            timeout = self._timeout
            client = redis.asyncio.Redis.from_url(self._url, socket_timeout=timeout, socket_connect_timeout=timeout)
            asker = self._askers[loop] = _Asker(client.register_script(SCRIPT))
        return await asker.take(f"{self._prefix}{key}", limit)

    def clear(self) -> None:
        for key in self._client.scan_iter(match=f"{self._prefix}*", count=1000):
            self._client.delete(key)


class _Asker:
    """Asks Redis for one event loop. What is to be asked while an answer is on its way goes together with the next question."""

    def __init__(self, script: AsyncScript) -> None:
        self._script = script
        self._waiting: list[tuple[str, Limit, asyncio.Future[int]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def take(self, key: str, limit: Limit) -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._waiting.append((key, limit, future))
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._ask())
        return await future

    async def _ask(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting[:MOST_ASKED], self._waiting[MOST_ASKED:]
            try:
                numbers = [number for _, limit, _ in asked for number in (limit.rate, limit.burst)]
                waits = await self._script(keys=[key for key, _, _ in asked], args=numbers)
            except Exception as error:  # noqa: BLE001  (who asked gets it)
                for _, _, future in asked:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, _, future), wait in zip(asked, waits, strict=True):
                if not future.done():
                    future.set_result(int(wait))
