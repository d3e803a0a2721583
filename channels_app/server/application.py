"""The ASGI application: what every request passes on its way to a dialect or to Django.

Housekeeping (lifespan) → ExpressLane → Health → LiveRoutes (consumers) → BodyLimit → Django

A WebSocket goes from Housekeeping to LiveRoutes: what is between them concerns HTTP, and would be held as long as it is open.
Consumers do not read the body that a GET may have, so nothing limits it.
"""

import asyncio
import contextlib
import gc

from django.db import DatabaseError

from channels_app.core import delivery, directory, hub, publishing, retention
from channels_app.core.database import expect_answers, in_thread
from channels_app.dialects.base import Dialect, dialect_of_path
from channels_app.dialects.live import send_response

from .asgi import Application, Event, Receive, Scope, Send, announced_length
from .express import ExpressLane
from .health import Health
from .live_routes import LiveRoutes

PUSH_SECONDS = 3.0  # for requests to others that are on their way when the server ends


def build(django: Application) -> Application:
    live = LiveRoutes(BodyLimit(django))
    return Housekeeping(ExpressLane(Health(live)), websockets=live)


class Housekeeping:
    """Runs retention beside the application, from the first thing the server asks of it (Daphne knows no lifespan)."""

    def __init__(self, application: Application, *, websockets: Application) -> None:
        self._application = application
        self._websockets = websockets
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._task is None or self._task.done():
            expect_answers()
            hub.current()  # publishes tell other processes from its event loop, whether or not anybody listens here
            self._task = asyncio.get_running_loop().create_task(retention.run_forever())
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._websockets(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        _tune_garbage_collection()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._task is not None:
            self._task.cancel()
        await delivery.close(PUSH_SECONDS)
        await asyncio.to_thread(publishing.close_lanes)
        with contextlib.suppress(DatabaseError):  # it is away, and so be it: "last used" is a hint for operators
            await in_thread(directory.write_last_used)
        await send({"type": "lifespan.shutdown.complete"})


def _tune_garbage_collection() -> None:
    """Look for cycles more rarely: publishes that wait for a commit set off a collection every few hundred of them.

    Measured with 128 publishes in flight: 1.3 times as many a second as with Python's own thresholds.
    """
    gc.freeze()  # what has been imported stays: no collection needs to look at it
    gc.set_threshold(10_000, 20, 20)


class BodyTooLarge(Exception):
    """A body without a length turned out too long while it was read."""


class BodyLimit:
    """Refuses a dialect's request whose body is over its limit: by the length it announces, or where it gets too long."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dialect = dialect_of_path(scope["path"]) if scope["type"] == "http" else None
        if dialect is None:
            await self._application(scope, receive, send)
            return
        limit = dialect.max_body()
        length = announced_length(scope)
        if length is not None and length > limit:
            await _refuse(dialect, scope, send, limit)
            return
        try:
            await self._application(scope, _counting(receive, limit), send)
        except BodyTooLarge:
            await _refuse(dialect, scope, send, limit)


def _counting(receive: Receive, limit: int) -> Receive:
    total = 0

    async def counted() -> Event:
        nonlocal total
        event = await receive()
        total += len(event.get("body", b""))
        if total > limit:
            raise BodyTooLarge
        return event

    return counted


async def _refuse(dialect: Dialect, scope: Scope, send: Send, limit: int) -> None:
    response = dialect.too_large(scope, limit)
    await send_response(send, response)
