"""The express lane: publishing, in each dialect, answered in front of Django (DESIGN.md §4).

Django's request machinery costs twenty times what a publish needs. A dialect's express route takes only a request that it
fully understands, over the same functions as its view; every other one goes on to Django untouched, with its body replayed.

A claimed request is answered by `answer`, on any ASGI server, or by `begin` where nothing has to be waited for but the commit
(`server.http`).
"""

import functools
from collections.abc import Callable

from django.db import OperationalError
from django.utils.module_loading import import_string

from channels_app.conf import conf
from channels_app.core import directory, publishing, throttling
from channels_app.core.database import in_thread
from channels_app.core.errors import PubSubError, StoreUnavailable
from channels_app.core.types import Receipt
from channels_app.dialects.base import Claim, ExpressRoute, Publish, Response, dialect_of_path, dialects
from channels_app.dialects.live import send_response

from .asgi import Application, Event, Receive, Scope, Send, announced_length


class ExpressLane:
    """Stands in front of everything that a publish need not pass."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        claimed = claim(scope)
        if claimed is not None:
            body = await _read(receive)
            if body is None:
                return  # the client left before it had sent everything
            response = await answer(claimed, body)
            if response is not None:
                await send_response(send, response)
                return
            receive = _replaying(body, receive)
        await self._application(scope, receive, send)


def claim(scope: Scope) -> Claim | None:
    """Only for a request that announces a body which its dialect allows: nobody else has looked at it before."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    dialect = dialect_of_path(scope["path"])
    if dialect is None or dialect.name not in _routes():
        return None
    length = announced_length(scope)
    if length is None or length > dialect.max_body():
        return None
    return _routes()[dialect.name].claim(scope)


def max_body(scope: Scope) -> int:
    """Bytes that a request to this path may have; 0 where none is claimed."""
    dialect = dialect_of_path(scope["path"])
    return dialect.max_body() if dialect else 0


@functools.cache
def _routes() -> dict[str, ExpressRoute]:
    return {each.name: import_string(each.express) for each in dialects() if each.express}


async def answer(claimed: Claim, body: bytes) -> Response | None:
    """Publish what the request asks for. None: Django shall answer it, and meets whatever is wrong with it again."""
    try:
        publish = await directory.asked(functools.partial(claimed.parse, body))
    except StoreUnavailable as error:
        return claimed.refuse(error)  # Django would only wait for the database as long again
    except Exception:  # noqa: BLE001
        return None
    try:
        if publish.instance.request_rate is not None:
            await in_thread(throttling.check_instance, publish.instance)
        await throttling.acheck_channel(publish.channel, publish.limit, publish.too_many)
        receipt = await publishing.apublish(publish.principal, publish.channel, publish.draft)
    except OperationalError:  # no thread was free in time
        return claimed.refuse(StoreUnavailable())
    except PubSubError as error:
        return claimed.refuse(error)
    return claimed.accept(publish, receipt)


def begin(claimed: Claim, body: bytes, tell: Callable[[Response | Exception], None]) -> bool:
    """`answer` for callbacks of an event loop: `tell` is called from it with the response, or with an error that is a defect.

    False, and nothing has happened: it takes more than the commit to wait for, or Django shall answer it.
    """
    try:
        publish = directory.from_memory(claimed.parse, body)
        if publish.instance.request_rate is not None or publish.limit.rate or not conf.GROUP_COMMIT:
            return False

        def done(outcome: Receipt | Exception) -> None:
            try:
                response: Response | Exception = _response(claimed, publish, outcome)
            except Exception as error:  # noqa: BLE001  (told as well: a client must not wait for ever)
                response = error
            tell(response)

        publishing.publish_soon(publish.principal, publish.channel, publish.draft, done)
    except Exception:  # noqa: BLE001
        return False
    return True


def _response(claimed: Claim, publish: Publish, outcome: Receipt | Exception) -> Response:
    if isinstance(outcome, Receipt):
        return claimed.accept(publish, outcome)
    if isinstance(outcome, PubSubError):
        return claimed.refuse(outcome)
    raise outcome


async def _read(receive: Receive) -> bytes | None:
    chunks: list[bytes] = []
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        chunks.append(event.get("body", b""))
        if not event.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """What the application would have received, had nobody read before it."""
    replayed = False

    async def replay() -> Event:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
