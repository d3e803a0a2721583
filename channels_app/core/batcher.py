"""Group commit: what gathers while one batch is being handled is the next batch. No timer, no added delay.

Imports nothing of Django. This is the only module of the core that owns threads (import law): a `Batcher` has one, which
calls `handle` with the entries that wait, and gives each waiter its own outcome.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    @property
    def size(self) -> int: ...


E = TypeVar("E", bound=Sized)
R = TypeVar("R")


class BatcherFull(Exception):
    """As many entries wait as may."""


class BatcherClosed(Exception):
    """The batcher takes no more entries."""


class Batcher(Generic[E, R]):
    """Runs `handle` over batches of submitted entries, in the order of submission, in one thread of its own.

    `handle` returns one outcome per entry; an exception among the outcomes fails that entry alone. When `handle` itself
    raises, every entry of the batch fails with what it raised.
    """

    def __init__(
        self,
        handle: Callable[[Sequence[E]], Sequence[R | Exception]],
        *,
        name: str = "batcher",
        max_waiting: int = 10_000,
        max_entries: int = 1_000,
        max_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._handle = handle
        self._name = name
        self._max_waiting = max_waiting
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[E, Future[R]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, entry: E) -> "Future[R]":
        """Queue the entry; the future has its outcome once the batch it fell into is done."""
        future: Future[R] = Future()
        with self._changed:
            if self._closed:
                raise BatcherClosed
            if len(self._waiting) >= self._max_waiting:
                raise BatcherFull
            self._waiting.append((entry, future))
            if self._thread is None:
                # Daemon: an interpreter that exits without close() must not hang on an idle lane.
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return future

    def close(self, timeout: float | None = None) -> None:
        """Take no more entries, handle those that wait, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        while batch := self._next_batch():
            self._settle(batch)

    def _next_batch(self) -> list[tuple[E, "Future[R]"]]:
        """Wait for entries; an empty list means closed and drained."""
        batch: list[tuple[E, Future[R]]] = []
        size = 0
        with self._changed:
            while not batch:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    break
                while self._waiting and len(batch) < self._max_entries and size < self._max_bytes:
                    entry, future = self._waiting.popleft()
                    # A waiter that gave up before its turn is told the truth: its entry is not handled at all.
                    if future.set_running_or_notify_cancel():
                        batch.append((entry, future))
                        size += entry.size
        return batch

    def _settle(self, batch: list[tuple[E, "Future[R]"]]) -> None:
        try:
            outcomes = self._handle([entry for entry, _ in batch])
            if len(outcomes) != len(batch):
                raise RuntimeError(f"handle returned {len(outcomes)} outcomes for {len(batch)} entries")
        except Exception as error:  # noqa: BLE001  (whatever it is, it is the waiters' to know)
            outcomes = [error] * len(batch)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
