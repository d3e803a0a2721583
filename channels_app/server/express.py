"""The express lane: the hot operation of each dialect, answered in front of Django (DESIGN.md §4).

Django's request machinery costs twenty times what a publish needs. A dialect's express route takes only a request that it
fully understands, over the same functions as its view; every other one goes on to Django untouched, with its body replayed.
"""

from django.utils.module_loading import import_string

from channels_app.dialects.base import ExpressRoute, dialects
from channels_app.dialects.live import send_response

from .asgi import Application, Event, Receive, Scope, Send


class ExpressLane:
    def __init__(self, application: Application) -> None:
        self._application = application
        self._routes: list[ExpressRoute] = [import_string(dialect.express) for dialect in dialects() if dialect.express]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            for route in self._routes:
                claim = route.claim(scope)
                if claim is None:
                    continue
                body = await _read(receive)
                if body is None:
                    return  # the client left before it had sent everything
                response = await claim(body)
                if response is not None:
                    await send_response(send, response)
                    return
                receive = _replaying(body, receive)
                break
        await self._application(scope, receive, send)


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
