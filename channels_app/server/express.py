"""The express lane: the hot operation of each dialect, answered in front of Django (DESIGN.md §4).

Django's request machinery costs twenty times what a publish needs. A dialect's express route takes only a request that it
fully understands, over the same functions as its view; every other one goes on to Django untouched, with its body replayed.
"""

from django.utils.module_loading import import_string

from channels_app.dialects.base import Claim, ExpressRoute, dialect_of_path, dialects
from channels_app.dialects.live import send_response

from .asgi import Application, Event, Receive, Scope, Send, announced_length


class ExpressLane:
    """Stands in front of everything that a publish need not pass: so it only takes a request that announces a body which its
    dialect allows."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._routes: dict[str, ExpressRoute] = {each.name: import_string(each.express) for each in dialects() if each.express}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        claim = self._claim(scope)
        if claim is not None:
            body = await _read(receive)
            if body is None:
                return  # the client left before it had sent everything
            response = await claim(body)
            if response is not None:
                await send_response(send, response)
                return
            receive = _replaying(body, receive)
        await self._application(scope, receive, send)

    def _claim(self, scope: Scope) -> Claim | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        dialect = dialect_of_path(scope["path"])
        if dialect is None or dialect.name not in self._routes:
            return None
        length = announced_length(scope)
        if length is None or length > dialect.max_body():
            return None
        return self._routes[dialect.name].claim(scope)


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
