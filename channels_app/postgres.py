"""PostgreSQL connections that do not wait for ever.

A server that has stopped (or its machine, or a disk) keeps its connections open and says nothing; none of its own timeouts
runs then. So the time is kept on this side.
"""

import time
import traceback
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any, ClassVar, Self

import psycopg
from psycopg.abc import PQGen

unhurried = ContextVar("unhurried", default=False)  # this thread's statements may take long


class NoAnswer(psycopg.OperationalError):
    """The server said nothing for too long."""


class PromptConnection(psycopg.Connection[Any]):
    """`seconds` a statement may take; None: as long as it likes, which is right for commands such as migrate."""

    seconds: ClassVar[float | None] = None

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        try:
            return super().connect(*args, **kwargs)
        except psycopg.Error as error:
            # psycopg leaves what it had begun to the garbage collector, in a cycle with the error's traceback. Until that
            # runs PostgreSQL counts another client, for each attempt while it did not answer.
            traceback.clear_frames(error.__traceback__)
            raise error.with_traceback(None) from None

    def wait(self, gen: PQGen[Any], *args: Any, **kwargs: Any) -> Any:
        if self.seconds is None or unhurried.get():
            return super().wait(gen, *args, **kwargs)
        try:
            return super().wait(_until(time.monotonic() + self.seconds, gen), *args, **kwargs)
        except NoAnswer:
            self.pgconn.finish()  # an answer that still comes must not be taken for another statement's
            raise


def _until(deadline: float, gen: PQGen[Any]) -> Generator[Any, Any, Any]:
    """`gen`, which is told now and then that nothing has come yet, but not for ever."""
    ready: Any = None
    while True:
        try:
            wanted = gen.send(ready)
        except StopIteration as done:
            return done.value
        ready = yield wanted
        if not ready and time.monotonic() > deadline:
            raise NoAnswer("PostgreSQL does not answer.")
