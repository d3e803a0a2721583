"""The dialects' consumers, by path: long polls, event streams and WebSockets are answered in front of Django."""

from channels.routing import URLRouter
from django.urls import re_path

from channels_app.dialects.base import dialects
from channels_app.dialects.live import json_response, refuse_handshake

from .asgi import Application, Receive, Scope, Send


class LiveRoutes:
    """A request on a consumer's path that is no GET, and everything else, is Django's."""

    def __init__(self, django: Application) -> None:
        self._django = django
        routes = [route for dialect in dialects() for route in dialect.routes()]
        self._router = URLRouter([*routes, re_path(r"", self._elsewhere)])  # type: ignore[arg-type]  # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            await self._django(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._django(scope, receive, send)
        else:
            await receive()
            await refuse_handshake(scope, send, json_response(404, {"detail": "Not found."}))
