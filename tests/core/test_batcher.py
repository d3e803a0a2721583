"""Group commit, without a database: what gathers while one batch runs is the next one."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest.mock import Mock

import pytest

from channels_app.core import batcher as batcher_module
from channels_app.core.batcher import Batcher, BatcherClosed, BatcherFull, Deadlines


@dataclass(frozen=True)
class Item:
    name: str
    size: int = 1


class Gate:
    """A handler that waits at a gate, so that a test decides what gathers meanwhile."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)

    def __call__(self, items: Sequence[Item]) -> list[str | Exception]:
        self.batches.append([item.name for item in items])
        self.entered.release()
        assert self.opened.acquire(timeout=10)
        return [item.name.upper() for item in items]


@pytest.fixture
def gate():
    return Gate()


def start(batcher, gate, name="first"):
    """Submit one entry and wait until its batch is being handled."""
    future = batcher.submit(Item(name))
    assert gate.entered.acquire(timeout=10)
    return future


def test_what_gathers_while_a_batch_runs_is_the_next_batch(gate):
    batcher = Batcher(gate)
    first = start(batcher, gate)
    others = [batcher.submit(Item(name)) for name in "abc"]
    gate.opened.release(2)
    assert [future.result(10) for future in [first, *others]] == ["FIRST", "A", "B", "C"]
    assert gate.batches == [["first"], ["a", "b", "c"]]
    batcher.close(10)


def test_a_batch_is_bounded_by_count(gate):
    batcher = Batcher(gate, max_entries=2)
    start(batcher, gate)
    last = [batcher.submit(Item(name)) for name in "abc"][-1]
    gate.opened.release(3)
    assert last.result(10) == "C"
    assert gate.batches == [["first"], ["a", "b"], ["c"]]


def test_a_batch_is_bounded_by_bytes_and_takes_at_least_one_entry(gate):
    batcher = Batcher(gate, max_bytes=10)
    start(batcher, gate)
    last = [batcher.submit(Item(name, size)) for name, size in (("big", 100), ("a", 5), ("b", 5), ("c", 5))][-1]
    gate.opened.release(4)
    assert last.result(10) == "C"
    assert gate.batches == [["first"], ["big"], ["a", "b"], ["c"]]


def test_an_outcome_that_is_an_exception_fails_its_entry_alone():
    batcher = Batcher(lambda items: [ValueError(item.name) if item.name == "bad" else item.name for item in items])
    futures = [batcher.submit(Item(name)) for name in ("good", "bad", "fine")]
    assert futures[0].result(10) == "good"
    assert futures[2].result(10) == "fine"
    with pytest.raises(ValueError, match="bad"):
        futures[1].result(10)


def test_a_handler_that_raises_fails_its_batch_and_the_next_one_is_handled():
    def handle(items):
        if items[0].name == "boom":
            raise RuntimeError("no database")
        return [item.name for item in items]

    batcher = Batcher(handle)
    with pytest.raises(RuntimeError, match="no database"):
        batcher.submit(Item("boom")).result(10)
    assert batcher.submit(Item("fine")).result(10) == "fine"


def test_a_handler_that_forgets_an_entry_fails_the_batch_instead_of_leaving_a_waiter():
    batcher = Batcher(lambda items: [])
    with pytest.raises(RuntimeError, match="0 outcomes for 1 entries"):
        batcher.submit(Item("a")).result(10)


def test_a_cancelled_entry_is_never_handled(gate):
    batcher = Batcher(gate)
    start(batcher, gate)
    cancelled, kept = batcher.submit(Item("cancelled")), batcher.submit(Item("kept"))
    assert cancelled.cancel()
    gate.opened.release(2)
    assert kept.result(10) == "KEPT"
    assert gate.batches == [["first"], ["kept"]]


def test_a_batch_of_cancelled_entries_does_not_end_the_lane(gate):
    batcher = Batcher(gate)
    first = start(batcher, gate)
    assert batcher.submit(Item("cancelled")).cancel()
    gate.opened.release()
    assert first.result(10) == "FIRST"
    later = start(batcher, gate, "later")
    gate.opened.release()
    assert later.result(10) == "LATER"


def test_more_entries_than_may_wait_are_refused(gate):
    batcher = Batcher(gate, max_waiting=2)
    start(batcher, gate)
    waiting = [batcher.submit(Item(name)) for name in "ab"]
    with pytest.raises(BatcherFull):
        batcher.submit(Item("c"))
    gate.opened.release(2)
    assert [future.result(10) for future in waiting] == ["A", "B"]


def test_closing_handles_what_waits_and_takes_nothing_more(gate):
    batcher = Batcher(gate)
    start(batcher, gate)
    waiting = batcher.submit(Item("waiting"))
    gate.opened.release(2)
    batcher.close(10)
    assert waiting.result(0) == "WAITING"
    with pytest.raises(BatcherClosed):
        batcher.submit(Item("late"))


async def test_what_coroutines_submit_in_one_tick_is_one_batch(gate):
    gate.opened.release()
    batcher = Batcher(gate)
    assert await asyncio.gather(*(batcher.submit_soon(Item(name)) for name in "abc")) == ["A", "B", "C"]
    assert gate.batches == [["a", "b", "c"]]


async def test_what_arrives_in_the_next_tick_joins_the_batch(gate):
    gate.opened.release()
    batcher = Batcher(gate)
    early = batcher.submit_soon(Item("early"))
    await asyncio.sleep(0)
    assert await asyncio.gather(early, batcher.submit_soon(Item("late"))) == ["EARLY", "LATE"]
    assert gate.batches == [["early", "late"]]


async def test_a_coroutine_that_gave_up_before_its_turn_is_not_handled(gate):
    batcher = Batcher(gate)
    start(batcher, gate)
    cancelled, kept = batcher.submit_soon(Item("cancelled")), batcher.submit_soon(Item("kept"))
    cancelled.cancel()
    await asyncio.sleep(0)
    gate.opened.release(2)
    assert await kept == "KEPT"
    assert gate.batches == [["first"], ["kept"]]


async def test_a_coroutine_that_gives_up_in_the_middle_costs_its_neighbours_nothing(gate):
    batcher = Batcher(gate)
    leaving, staying = batcher.submit_soon(Item("leaving")), batcher.submit_soon(Item("staying"))
    assert await asyncio.to_thread(gate.entered.acquire, timeout=10)
    leaving.cancel()
    gate.opened.release()
    assert await staying == "STAYING"


async def test_a_coroutine_is_told_of_its_own_error(gate):
    batcher = Batcher(lambda items: [ValueError(item.name) if item.name == "bad" else item.name for item in items])
    bad, fine = batcher.submit_soon(Item("bad")), batcher.submit_soon(Item("fine"))
    with pytest.raises(ValueError, match="bad"):
        await bad
    assert await fine == "fine"


async def test_a_coroutine_is_told_that_the_batcher_is_closed_or_full(gate):
    full, closed = Batcher(gate, max_waiting=0), Batcher(gate)
    closed.close()
    with pytest.raises(BatcherFull):
        await full.submit_soon(Item("late"))
    with pytest.raises(BatcherClosed):
        await closed.submit_soon(Item("late"))


async def test_a_coroutine_whose_time_is_up_is_told_so_and_its_entry_is_not_handled(gate):
    batcher = Batcher(gate)
    start(batcher, gate)
    hasty, patient = batcher.submit_soon(Item("hasty"), timeout=0), batcher.submit_soon(Item("patient"), timeout=10)
    with pytest.raises(TimeoutError):
        await hasty
    gate.opened.release(2)
    assert await patient == "PATIENT"
    assert gate.batches == [["first"], ["patient"]]


async def test_callbacks_are_told_what_coroutines_are(gate, caplog):
    gate.opened.release()
    batcher, told, ended = Batcher(gate), [], asyncio.Event()
    batcher.submit_calling(Item("broken"), lambda outcome: 1 / 0)
    batcher.submit_calling(Item("fine"), lambda outcome: (told.append(outcome), ended.set()))
    async with asyncio.timeout(10):
        await ended.wait()
    assert told == ["FINE"]
    assert "ZeroDivisionError" in caplog.text, "a broken one costs the others nothing, and is seen"


async def test_a_callback_is_told_once_that_its_time_is_up(gate):
    batcher, told = Batcher(gate), []
    start(batcher, gate)
    batcher.submit_calling(Item("hasty"), told.append, timeout=0)
    patient = batcher.submit_soon(Item("patient"), timeout=10)
    gate.opened.release(2)
    assert await patient == "PATIENT"
    assert [type(each) for each in told] == [TimeoutError]
    assert gate.batches == [["first"], ["patient"]]


def after_a_batch_of_four(gate) -> Batcher:
    batcher = Batcher(gate)
    futures = [start(batcher, gate), *(batcher.submit(Item(name)) for name in "abcd")]
    gate.opened.release(2)
    assert [future.result(10) for future in futures][1:] == ["A", "B", "C", "D"]
    gate.batches.clear()
    return batcher


def test_one_that_comes_after_many_waits_for_half_as_many(gate, monkeypatch):
    monkeypatch.setattr(batcher_module, "GATHER_SECONDS", 10)
    batcher = after_a_batch_of_four(gate)
    gate.opened.release()
    early = batcher.submit(Item("early"))
    assert batcher.submit(Item("late")).result(5) == "LATE"
    assert (early.result(5), gate.batches) == ("EARLY", [["early", "late"]])
    batcher.close(10)


def test_one_that_comes_after_many_does_not_wait_for_long_and_the_next_not_at_all(gate, monkeypatch):
    monkeypatch.setattr(batcher_module, "GATHER_SECONDS", 0.01)
    batcher = after_a_batch_of_four(gate)
    gate.opened.release(2)
    assert batcher.submit(Item("alone")).result(10) == "ALONE"
    monkeypatch.setattr(batcher_module, "GATHER_SECONDS", 10)
    assert batcher.submit(Item("again")).result(5) == "AGAIN"
    batcher.close(10)


def test_who_waits_for_others_is_handled_when_the_batcher_closes(gate, monkeypatch):
    monkeypatch.setattr(batcher_module, "GATHER_SECONDS", 60)
    batcher = after_a_batch_of_four(gate)
    gate.opened.release()
    future = batcher.submit(Item("last"))
    batcher.close(10)
    assert future.result(0) == "LAST"


def test_the_thread_rests_when_nothing_comes_for_a_while_and_at_its_end(monkeypatch):
    rests = threading.Semaphore(0)
    monkeypatch.setattr(batcher_module, "REST_SECONDS", 0.01)
    batcher = Batcher(lambda items: [item.name for item in items], rest=rests.release)
    for name in ("early", "late"):
        assert batcher.submit(Item(name)).result(10) == name
        assert rests.acquire(timeout=10)
    batcher.close(10)
    assert rests.acquire(timeout=10)
    assert not rests.acquire(blocking=False)


def test_a_busy_thread_does_not_rest(gate):
    rest = Mock()
    batcher = Batcher(gate, rest=rest)
    futures = [start(batcher, gate), *(batcher.submit(Item(name)) for name in "abc")]
    gate.opened.release(2)
    assert [future.result(10) for future in futures] == ["FIRST", "A", "B", "C"]
    rest.assert_not_called()
    batcher.close(10)


def test_what_comes_until_the_thread_is_ready_is_in_the_batch(gate):
    asked, allowed = threading.Semaphore(0), threading.Semaphore(0)
    batcher = Batcher(gate, ready=lambda: asked.release() or allowed.acquire(timeout=10))
    gate.opened.release(2)
    for batch in ("ab", "cd"):
        first = batcher.submit(Item(batch[0]))
        assert asked.acquire(timeout=10)
        second = batcher.submit(Item(batch[1]))
        allowed.release()
        assert [first.result(10), second.result(10)] == [*batch.upper()]
    assert gate.batches == [["a", "b"], ["c", "d"]]
    batcher.close(10)


@pytest.mark.parametrize("hook", ["ready", "rest"])
def test_a_hook_that_fails_costs_nobody_an_answer(monkeypatch, caplog, hook):
    monkeypatch.setattr(batcher_module, "REST_SECONDS", 0.01)
    called = threading.Semaphore(0)
    batcher = Batcher(lambda items: [item.name for item in items], **{hook: lambda: called.release() or 1 / 0})
    for name in ("early", "late"):
        assert batcher.submit(Item(name)).result(10) == name
        assert called.acquire(timeout=10)
    batcher.close(10)
    assert "ZeroDivisionError" in caplog.text


class Clock:
    """An event loop's clock and timers, which a test moves."""

    def __init__(self) -> None:
        self._now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, call: Callable[[], None]) -> Mock:
        self.timers.append((when, call))
        return Mock(cancel=lambda: self.timers.remove((when, call)))

    def call_later(self, seconds: float, call: Callable[[], None]) -> Mock:
        return self.call_at(self._now + seconds, call)

    def move(self, to: float) -> None:
        self._now = to
        for timer in [each for each in self.timers if each[0] <= to]:
            self.timers.remove(timer)
            timer[1]()


async def test_each_future_has_its_own_time_and_all_share_a_timer():
    clock = Clock()
    deadlines = Deadlines(clock)
    first, second, third = (asyncio.get_running_loop().create_future() for _ in range(3))
    for when, future in enumerate((first, second, third)):
        clock.move(when)
        deadlines.add(future, 5)
        assert len(clock.timers) == 1
    second.set_result("in time")
    clock.move(5)
    assert (type(first.exception()), second.result(), third.done()) == (TimeoutError, "in time", False)
    clock.move(7)
    assert type(third.exception()) is TimeoutError
    assert not clock.timers


async def test_a_future_that_is_done_is_not_kept_until_its_time_is_up():
    clock = Clock()
    deadlines = Deadlines(clock)
    for _ in range(3):
        future = asyncio.get_running_loop().create_future()
        deadlines.add(future, 5)
        future.set_result("in time")
    assert len(deadlines) == 1
