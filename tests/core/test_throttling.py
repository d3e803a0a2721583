"""Limits by the second, and what becomes of them without Redis."""

import logging
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import limits
import pytest
from limits.errors import StorageError
from limits.storage import MemoryStorage

from channels_app.core import throttling
from channels_app.core.directory import InstanceInfo
from channels_app.core.errors import PermissionDenied, Throttled
from channels_app.core.throttling import Counters


@pytest.fixture(autouse=True)
def _nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that a test cannot outlive."""
    throttling.reset()
    monkeypatch.setattr(limits, "RateLimitItemPerSecond", limits.RateLimitItemPerHour)


def passed(times: int, count: Any, *whom: Any, **options: Any) -> int:
    """How many of so many requests got through."""

    def gets_through() -> bool:
        try:
            count(*whom, **options)
        except Throttled:
            return False
        return True

    return sum(gets_through() for _ in range(times))


def instance(number: int = 1, **rates: int) -> InstanceInfo:
    return InstanceInfo(number, UUID(int=number), f"instance-{number}", 1, rates.get("request_rate"), rates.get("poll_rate"))


def test_each_address_has_its_own_limit_without_a_key(settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "ANONYMOUS_RATE": "10/hour"}
    assert passed(12, throttling.check_anonymous, "10.0.0.1") == 10
    assert passed(12, throttling.check_anonymous, "10.0.0.2") == 10


def test_refused_polls_are_limited_by_client(settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "FAILED_POLL_RATE": "3/hour"}
    assert passed(5, throttling.count_failed_poll, "key-1") == 3
    assert passed(5, throttling.count_failed_poll, "key-2") == 3


def test_wrong_passwords_are_limited_by_address_and_then_not_even_tried(settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "FAILED_LOGIN_RATE": "3/hour"}
    tried = []

    def log_in(address: str, *, right: bool) -> None:
        with throttling.guard_login(address):
            tried.append(address)
            if not right:
                raise PermissionDenied

    for _ in range(10):
        log_in("10.0.0.1", right=True)
    for _ in range(3):
        with pytest.raises(PermissionDenied):
            log_in("10.0.0.1", right=False)
    with pytest.raises(Throttled):
        log_in("10.0.0.1", right=True)
    log_in("10.0.0.2", right=True)
    assert len(tried) == 14


def test_of_many_passwords_at_once_no_more_are_tried_than_may_be_wrong(settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "FAILED_LOGIN_RATE": "3/hour"}
    with ExitStack() as tries:
        for _ in range(3):
            tries.enter_context(throttling.guard_login("10.0.0.1"))
        with pytest.raises(Throttled), throttling.guard_login("10.0.0.1"):
            pass


def test_a_login_that_a_fault_kept_from_its_answer_is_no_wrong_password(settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "FAILED_LOGIN_RATE": "1/hour"}
    for _ in range(3):
        with pytest.raises(ConnectionError), throttling.guard_login("10.0.0.1"):
            raise ConnectionError


def test_an_empty_limit_is_none(settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "ANONYMOUS_RATE": "", "FAILED_POLL_RATE": ""}
    assert passed(100, throttling.check_anonymous, "10.0.0.1") == 100
    assert passed(100, throttling.count_failed_poll, "key-1") == 100


def test_an_instance_has_no_limit_of_its_own() -> None:
    assert passed(1000, throttling.check_instance, instance()) == 1000


def test_an_instance_counts_polls_apart() -> None:
    busy = instance(request_rate=5, poll_rate=7)
    assert passed(10, throttling.check_instance, busy) == 5
    assert passed(10, throttling.check_instance, busy, poll=True) == 7
    assert passed(10, throttling.check_instance, instance(2, request_rate=5)) == 5


def test_a_refusal_says_when_to_come_back() -> None:
    throttling.check_instance(instance(request_rate=1))
    with pytest.raises(Throttled) as refusal:
        throttling.check_instance(instance(request_rate=1))
    assert 1 <= refusal.value.retry_after <= 3600


class AwayStorage(MemoryStorage):
    """A Redis that can go away."""

    away = True
    asked = 0

    def incr(self, *args: Any, **options: Any) -> int:
        self.asked += 1
        if self.away:
            raise StorageError(ConnectionError("gone"))
        return super().incr(*args, **options)


def test_without_redis_this_process_counts_for_itself_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    storage = AwayStorage()
    counters = Counters(storage)
    with caplog.at_level(logging.WARNING):
        answers = [counters.exceeded(limits.RateLimitItemPerHour(3), ("request", "1")) for _ in range(5)]
    assert [answer is None for answer in answers] == [True, True, True, False, False]
    assert len(caplog.records) == 1
    assert storage.asked == 1  # not asked again for a while: nobody waits for its timeout


def test_when_redis_is_back_it_counts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "REDIS_PAUSE", 0.0)
    storage = AwayStorage()
    counters = Counters(storage)
    one_a_hour = limits.RateLimitItemPerHour(1)
    assert counters.exceeded(one_a_hour, ("request", "1")) is None
    storage.away = False
    assert counters.exceeded(one_a_hour, ("request", "1")) is None  # Redis has not heard of the first
    assert counters.exceeded(one_a_hour, ("request", "1")) is not None
