"""Group commit: what gathers while one batch is being handled is the next batch.

Only a few that wait where many came before wait a moment longer: those who were just answered come again, and a batch costs
nearly the same with them. So one publisher alone never waits, and many are stored by half as many transactions.

Imports nothing of Django. This is the only module of the core that owns threads (import law): a `Batcher` has one, which
calls `handle` with the entries that wait, and gives each waiter its own outcome.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

REST_SECONDS = 1.0  # without an entry
GATHER_SECONDS = 0.0005  # that a few entries wait at most for others


class Sized(Protocol):
    @property
    def size(self) -> int: ...


E = TypeVar("E", bound=Sized)
R = TypeVar("R")


class Call(Generic[R]):
    """Waits for an outcome as a future does, at half its cost: `tell` is called with it, in the event loop."""

    __slots__ = ("_is_done", "_loop", "_tell")

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[R | Exception], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._is_done = False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def done(self) -> bool:
        return self._is_done

    def set_result(self, outcome: R | Exception) -> None:
        self._is_done = True
        try:
            self._tell(outcome)
        except Exception as error:  # noqa: BLE001  (as the event loop itself does: others are told by the same hand)
            self._loop.call_exception_handler({"message": f"Exception in {self._tell}", "exception": error})

    set_exception = set_result


# Told the outcome: a thread that blocks, or a coroutine or callback of an event loop.
Waiter = Future[R] | asyncio.Future[R] | Call[R]


class BatcherFull(Exception):
    """As many entries wait as may."""


class BatcherClosed(Exception):
    """The batcher takes no more entries."""


class Gate:
    """Lets a batcher's thread wait for others, who open and shut it from any thread; open at first."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.open()

    def open(self) -> None:
        self._opened.set()

    def shut(self) -> None:
        self._opened.clear()

    def wait(self, seconds: float | None) -> bool:
        """Whether it was opened in that time."""
        return self._opened.wait(seconds)


class Batcher(Generic[E, R]):
    """Runs `handle` over batches of submitted entries, in the order of submission, in one thread of its own.

    `handle` returns one outcome per entry; an exception among the outcomes fails that entry alone. When `handle` itself
    raises, every entry of the batch fails with what it raised. In the same thread, `ready` is called before a batch is made up,
    and `rest` when nothing has come for a while, and at the end.
    """

    def __init__(
        self,
        handle: Callable[[Sequence[E]], Sequence[R | Exception]],
        *,
        name: str = "batcher",
        max_waiting: int = 10_000,
        max_entries: int = 1_000,
        max_bytes: int = 4 * 1024 * 1024,
        ready: Callable[[], None] = lambda: None,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._handle = handle
        self._ready = ready
        self._rest = rest
        self._name = name
        self._max_waiting = max_waiting
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[E, Waiter[R]]] = deque()
        self._bursts: dict[asyncio.AbstractEventLoop, _Burst[E, R]] = {}
        self._last = 0  # entries of the last batch
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, entry: E) -> "Future[R]":
        """Queue the entry; the future has its outcome once the batch it fell into is done."""
        future: Future[R] = Future()
        self._queue([(entry, future)])
        return future

    def submit_soon(self, entry: E, timeout: float | None = None) -> "asyncio.Future[R]":
        """`submit` for a coroutine: full, closed and too late (TimeoutError) are told by the future."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._gather(loop, entry, future, timeout)
        return future

    def submit_calling(self, entry: E, tell: Callable[[R | Exception], None], timeout: float | None = None) -> None:
        """`submit_soon` for a callback of the running event loop."""
        loop = asyncio.get_running_loop()
        self._gather(loop, entry, Call(loop, tell), timeout)

    def _gather(
        self, loop: asyncio.AbstractEventLoop, entry: E, waiter: "asyncio.Future[R] | Call[R]", timeout: float | None
    ) -> None:
        """What an event loop submits in one burst crosses to the thread at once, and so do the outcomes on their way back: to
        wake the other side costs more than an entry does.
        """
        burst = self._bursts.get(loop) or self._new_burst(loop)
        if timeout is not None:
            burst.deadlines.add(waiter, timeout)
        burst.entries.append((entry, waiter))
        if len(burst.entries) == 1:
            # Not in this tick but in the next, after a look at what else has arrived. The last batch was answered all at once,
            # and so come the next requests: a batch of the first few of them would cost as much as one of all.
            loop.call_soon(loop.call_soon, self._hand_over, burst)

    def _new_burst(self, loop: asyncio.AbstractEventLoop) -> "_Burst[E, R]":
        for ended in [each for each in list(self._bursts) if each.is_closed()]:
            del self._bursts[ended]
        self._bursts[loop] = _Burst(loop)
        return self._bursts[loop]

    def _hand_over(self, burst: "_Burst[E, R]") -> None:
        entries, burst.entries = burst.entries, []
        try:
            self._queue(entries)
        except (BatcherFull, BatcherClosed) as error:
            _tell([(waiter, error) for _, waiter in entries])

    def _queue(self, entries: Sequence[tuple[E, Waiter[R]]]) -> None:
        with self._changed:
            if self._closed:
                raise BatcherClosed
            if len(self._waiting) + len(entries) > self._max_waiting:
                raise BatcherFull
            self._waiting.extend(entries)
            if self._thread is None:
                # Daemon: an interpreter that exits without close() must not hang on an idle lane.
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, timeout: float | None = None) -> None:
        """Take no more entries, handle those that wait, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        while self._wait_for_work():
            self._call(self._ready)
            if batch := self._next_batch():
                self._settle(batch)
        self._call(self._rest)

    def _call(self, hook: Callable[[], None]) -> None:
        try:
            hook()
        except Exception:
            logger.exception("%s goes on without what failed", self._name)  # without its thread nobody would be answered

    def _wait_for_work(self) -> bool:
        """Wait for entries; False means closed and drained."""
        if not self._has_work(REST_SECONDS):
            self._call(self._rest)
            self._has_work()
        return bool(self._waiting)

    def _has_work(self, seconds: float | None = None) -> bool:
        """Wait for entries, or for the end."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting) or self._closed, seconds)

    def _next_batch(self) -> list[tuple[E, Waiter[R]]]:
        """What waits; it may be nothing, when everybody gave up."""
        batch: list[tuple[E, Waiter[R]]] = []
        size = 0
        with self._changed:
            if self._are_few():
                self._changed.wait_for(lambda: self._closed or not self._are_few(), GATHER_SECONDS)
            while self._waiting and len(batch) < self._max_entries and size < self._max_bytes:
                entry, waiter = self._waiting.popleft()
                # A waiter that gave up before its turn is told the truth: its entry is not handled at all.
                if _still_waits(waiter):
                    batch.append((entry, waiter))
                    size += entry.size
        self._last = len(batch)
        return batch

    def _are_few(self) -> bool:
        return len(self._waiting) * 2 < self._last

    def _settle(self, batch: list[tuple[E, Waiter[R]]]) -> None:
        try:
            outcomes = self._handle([entry for entry, _ in batch])
            if len(outcomes) != len(batch):
                raise RuntimeError(f"handle returned {len(outcomes)} outcomes for {len(batch)} entries")
        except Exception as error:  # noqa: BLE001  (whatever it is, it is the waiters' to know)
            outcomes = [error] * len(batch)
        here: list[tuple[Waiter[R], R | Exception]] = []
        elsewhere: dict[asyncio.AbstractEventLoop, list[tuple[Waiter[R], R | Exception]]] = {}
        for (_, waiter), outcome in zip(batch, outcomes, strict=True):
            told = here if isinstance(waiter, Future) else elsewhere.setdefault(waiter.get_loop(), [])
            told.append((waiter, outcome))
        _tell(here)
        for loop, told in elsewhere.items():
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its coroutines with it
                loop.call_soon_threadsafe(_tell, told)


class _Burst(Generic[E, R]):
    """What one event loop has submitted and not yet handed over, and until when its coroutines wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.entries: list[tuple[E, Waiter[R]]] = []
        self.deadlines = Deadlines(loop)


class Deadlines:
    """Fails what waits in one event loop, with TimeoutError, when they take too long.

    One timer for all of them: a timer each costs a publish more than its place in a queue does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[float, asyncio.Future[Any] | Call[Any]]] = deque()  # the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiter: "asyncio.Future[Any] | Call[Any]", seconds: float) -> None:
        """`seconds` as for those before it: they are looked at in the order in which they came."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        if not waiting:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._expire)
        waiting.append((self._loop.time() + seconds, waiter))

    def _expire(self) -> None:
        waiting = self._waiting
        now = self._loop.time()
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            _, waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        self._timer = self._loop.call_at(waiting[0][0], self._expire) if waiting else None


def _still_waits(waiter: Waiter[R]) -> bool:
    if isinstance(waiter, Future):
        return waiter.set_running_or_notify_cancel()
    return not waiter.done()


def _tell(outcomes: Sequence[tuple[Waiter[R], R | Exception]]) -> None:
    for waiter, outcome in outcomes:
        if waiter.done():  # a coroutine that gave up meanwhile
            continue
        if isinstance(outcome, Exception):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)
