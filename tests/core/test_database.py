"""How coroutines reach the database."""

import asyncio
import threading
import time

import pytest

from channels_app.core.database import in_thread


def stand_still():
    time.sleep(0.1)


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
async def test_who_is_cancelled_in_the_moment_of_the_answer_is_cancelled():
    """A client that hangs up just then would else be waited on for ever."""
    begun, may_end = threading.Event(), threading.Event()
    task = asyncio.create_task(in_thread(lambda: begun.set() or may_end.wait(10)))
    assert await asyncio.to_thread(begun.wait, 10)
    may_end.set()
    stand_still()  # the answer is there, and the event loop has not seen it yet
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
