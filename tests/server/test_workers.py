"""The supervisor of several workers keeps each of them running, whatever becomes of the others."""

import asyncio

import pytest

from channels_app.server import workers
from channels_app.server.workers import Supervisor


async def test_a_worker_that_cannot_be_started_is_tried_again_and_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, tries = asyncio.create_subprocess_exec, 0
    all_tried = asyncio.Event()

    async def no_room_for_the_second(*_: str, **options: object) -> asyncio.subprocess.Process:
        nonlocal tries
        tries += 1
        if tries == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        if tries == 3:
            all_tried.set()
        return await start("sleep", "60", **options)

    monkeypatch.setattr(workers, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", no_room_for_the_second)
    supervisor = Supervisor(2, 0)
    running = asyncio.ensure_future(supervisor.run())
    async with asyncio.timeout(10):
        await asyncio.wait({running, asyncio.ensure_future(all_tried.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert not running.done(), "its end is that of all workers"
        supervisor._end()
        await running
    assert "could not be started: [Errno 11] Resource temporarily unavailable; another starts in 0.01 s" in caplog.text
