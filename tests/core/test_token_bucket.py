"""Token buckets: the rule against a model, this process's own, and those that several processes share in Redis."""

import asyncio
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from channels_app.core import token_bucket
from channels_app.core.throttling import Buckets
from channels_app.core.token_bucket import Limit, OwnBuckets, SharedBuckets
from tests.backends import Backend, free_port

SECOND = 1_000_000
THIRTY = Limit(rate=30, burst=30)
SLOW = Limit(rate=1, burst=30)


class Clock:
    """Microseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Stopwatch:
    """For buckets whose clock no test moves."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def bears_out(self, taken: int, tokens: int) -> bool:
        """Whether so much can have been taken by now of so many tokens, one of which comes back each second."""
        return tokens <= taken <= tokens + time.monotonic() - self._started + 1


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


def admitted(buckets: OwnBuckets, times: int, key: str = "a", limit: Limit = THIRTY) -> int:
    return sum(not buckets.take(key, limit) for _ in range(times))


# The rule

limits = st.builds(Limit, rate=st.integers(1, 1_000), burst=st.integers(1, 1_000))
pauses = st.integers(0, 3 * SECOND) | st.sampled_from([0, 1, 33_333, 33_334, SECOND])


@given(limits, st.lists(pauses, max_size=200))
def test_it_is_the_bucket_of_the_textbook(limit: Limit, waits: list[int]) -> None:
    clock = Clock()
    buckets = OwnBuckets(clock)
    tokens = Fraction(limit.burst)
    for wait in waits:
        clock.now += wait
        tokens = min(Fraction(limit.burst), tokens + Fraction(wait * limit.rate, SECOND))
        again = buckets.take("a", limit)
        assert (again == 0) is (tokens >= 1)
        if again:
            assert (again - 1) * limit.rate < (1 - tokens) * SECOND <= again * limit.rate  # the very microsecond
        else:
            tokens -= 1


@given(limits, st.lists(pauses, max_size=100))
def test_no_stretch_of_time_gets_more_than_a_burst_and_what_came_back(limit: Limit, waits: list[int]) -> None:
    clock = Clock()
    buckets = OwnBuckets(clock)
    times: list[int] = []
    for wait in waits:
        clock.now += wait
        if not buckets.take("a", limit):
            times.append(clock.now)
    for start, first in enumerate(times):
        for count, last in enumerate(times[start:], 1):
            assert (count - limit.burst) * SECOND <= (last - first) * limit.rate


def test_thirty_go_at_once_and_not_one_more(clock: Clock) -> None:
    assert admitted(OwnBuckets(clock), 100) == 30


def test_what_is_refused_takes_nothing(clock: Clock) -> None:
    buckets = OwnBuckets(clock)
    admitted(buckets, 10_000)
    clock.now += SECOND
    assert admitted(buckets, 10_000) == 30


def test_thirty_a_second_go_for_ever(clock: Clock) -> None:
    buckets = OwnBuckets(clock)
    for _ in range(1_000):
        assert admitted(buckets, 1) == 1
        clock.now += 33_334


def test_who_stays_below_the_rate_is_never_refused(clock: Clock) -> None:
    buckets = OwnBuckets(clock)
    for _ in range(40):  # wire/twilio.md §12, case 29
        assert admitted(buckets, 1) == 1
        clock.now += SECOND // 20


def test_more_than_a_burst_is_never_saved_up(clock: Clock) -> None:
    buckets = OwnBuckets(clock)
    admitted(buckets, 30)
    clock.now += 3_600 * SECOND
    assert admitted(buckets, 100) == 30


def test_a_clock_that_is_set_back_gives_and_takes_nothing(clock: Clock) -> None:
    buckets = OwnBuckets(clock)
    admitted(buckets, 30)
    clock.now -= 3_600 * SECOND
    assert admitted(buckets, 1) == 0
    clock.now += SECOND
    assert admitted(buckets, 100) == 30


def test_each_key_has_a_bucket_of_its_own(clock: Clock) -> None:
    buckets = OwnBuckets(clock)
    admitted(buckets, 100, "a")
    assert admitted(buckets, 100, "b") == 30


def test_full_buckets_are_not_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_bucket, "MOST_OWN", 10)
    buckets = OwnBuckets(clock)
    for _ in range(100):
        for number in range(10):
            buckets.take(f"{clock.now}-{number}", THIRTY)
        clock.now += SECOND
    assert len(buckets) <= 30


def test_buckets_that_are_missing_something_are_all_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_bucket, "MOST_OWN", 10)
    buckets = OwnBuckets(clock)
    for number in range(100):
        admitted(buckets, 30, str(number))
    assert sum(admitted(buckets, 1, str(number)) for number in range(100)) == 0


# Shared through Redis


@pytest.fixture
def url(backend: Backend) -> str:
    if not backend.environment.get("REDIS_URL"):
        pytest.skip("not applicable: this backend has no Redis")
    return backend.environment["REDIS_URL"]


@pytest.fixture
def shared(url: str) -> Iterator[SharedBuckets]:
    buckets = SharedBuckets(url, "test:bucket:", timeout=5)
    yield buckets
    buckets.clear()


def test_two_clients_of_a_redis_share_a_bucket(url: str, shared: SharedBuckets, watch: Stopwatch) -> None:
    other = SharedBuckets(url, "test:bucket:", timeout=5)
    answers = [buckets.take("a", SLOW) for _ in range(30) for buckets in (shared, other)]
    assert watch.bears_out(answers.count(0), tokens=30)
    assert 0 < max(answers) <= SECOND


def test_two_processes_share_a_bucket(url: str, shared: SharedBuckets, watch: Stopwatch) -> None:
    take = (
        "import sys; from channels_app.core.token_bucket import Limit, SharedBuckets;"
        "buckets = SharedBuckets(sys.argv[1], 'test:bucket:', 5);"
        "print(sum(not buckets.take('a', Limit(1, 1000)) for _ in range(700)))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", take, url], stdout=subprocess.PIPE) for _ in range(2)]
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert watch.bears_out(sum(counts), tokens=1_000)


async def test_coroutines_and_threads_take_from_the_same_bucket(shared: SharedBuckets, watch: Stopwatch) -> None:
    answers = await asyncio.gather(*(shared.atake("a", SLOW) for _ in range(20)))
    assert answers == [0] * 20
    assert watch.bears_out(20 + sum(not shared.take("a", SLOW) for _ in range(20)), tokens=30)


async def test_what_is_asked_together_is_answered_each(
    shared: SharedBuckets, monkeypatch: pytest.MonkeyPatch, watch: Stopwatch
) -> None:
    monkeypatch.setattr(token_bucket, "MOST_ASKED", 7)
    keys = [str(number % 3) for number in range(50)]
    limits = {"0": Limit(1, 100), "1": Limit(1, 5), "2": Limit(1, 1)}
    answers = await asyncio.gather(*(shared.atake(key, limits[key]) for key in keys))
    taken = Counter(key for key, answer in zip(keys, answers, strict=True) if not answer)
    assert taken["0"] == 17
    assert watch.bears_out(taken["1"], tokens=5)
    assert watch.bears_out(taken["2"], tokens=1)


async def test_who_does_not_wait_for_the_answer_takes_a_token_all_the_same(shared: SharedBuckets, watch: Stopwatch) -> None:
    asking = [asyncio.ensure_future(shared.atake("a", SLOW)) for _ in range(40)]
    await asyncio.sleep(0)
    for task in asking[:20]:
        task.cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert watch.bears_out(20 + answers[20:].count(0), tokens=30)


async def test_a_redis_that_is_not_there_is_an_error_for_all_who_ask() -> None:
    nowhere = SharedBuckets(f"redis://127.0.0.1:{free_port()}/0", "test:", timeout=1)
    answers = await asyncio.gather(*(nowhere.atake("a", SLOW) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(answer, redis.RedisError) for answer in answers)


def test_redis_forgets_a_bucket_that_is_full_again(url: str, shared: SharedBuckets) -> None:
    client = redis.Redis.from_url(url)
    for _ in range(10):
        shared.take("a", SLOW)
    assert 0 < client.pttl("test:bucket:a") <= 10_000  # milliseconds
    client.set("test:bucket:b", "30000000 0")  # empty, in 1970
    assert shared.take("b", SLOW) == 0


def test_the_script_is_the_same_rule(url: str) -> None:
    """The script, with a clock of ours in place of Redis's, and nothing that expires by the real one."""
    text = token_bucket.SCRIPT.replace("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}")
    text = text.replace(", 'PX', math.ceil(taken / rate / 1000)", "")
    client = redis.Redis.from_url(url)
    script = client.register_script(text)

    @given(limits, st.lists(pauses, max_size=30))
    @settings(max_examples=50, deadline=None)
    def agree(limit: Limit, waits: list[int]) -> None:
        clock = Clock()
        buckets = OwnBuckets(clock)
        client.delete("test:bucket:a")
        for wait in waits:
            clock.now += wait
            arguments = [limit.rate, limit.burst] * 2 + [*divmod(clock.now, SECOND)]
            answers = script(keys=["test:bucket:a"] * 2, args=arguments)
            assert answers == [buckets.take("a", limit), buckets.take("a", limit)]

    agree()
    client.delete("test:bucket:a")


# Without Redis


class AwayBuckets(SharedBuckets):
    """A Redis that can go away."""

    def __init__(self) -> None:
        self.asked = 0

    def take(self, key: str, limit: Limit) -> int:
        self.asked += 1
        raise redis.ConnectionError("gone")

    async def atake(self, key: str, limit: Limit) -> int:
        return self.take(key, limit)


async def test_without_redis_this_process_counts_for_itself_and_says_so_once(
    caplog: pytest.LogCaptureFixture, watch: Stopwatch
) -> None:
    away = AwayBuckets()
    buckets = Buckets(away)
    with caplog.at_level(logging.WARNING):
        answers = [await buckets.atake("a", SLOW) for _ in range(20)] + [buckets.take("a", SLOW) for _ in range(20)]
    assert watch.bears_out(answers.count(0), tokens=30)
    assert len(caplog.records) == 1
    assert away.asked == 1
