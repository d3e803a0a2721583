"""What the dialects' live consumers share: answering over plain ASGI, and being told when the client hangs up."""

import abc
import asyncio
import contextlib
import functools
import json
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl

from channels.consumer import AsyncConsumer
from django.conf import settings

from channels_app.core.recovery import Event
from channels_app.core.subscriber import Sink

from .base import Headers, Response

JSON_TYPE = "application/json; charset=utf-8"

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def json_response(status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, header_list({"Content-Type": JSON_TYPE, **(headers or {})}), content)


def header_list(headers: Mapping[str, str]) -> Headers:
    """With those that Django adds to every answer of a view."""
    return [*_security_headers(), *_encoded(headers)]


@functools.cache
def _security_headers() -> Headers:
    """What SecurityMiddleware adds. Redirects to https and HSTS are the proxy's, which ends TLS."""
    policy = settings.SECURE_REFERRER_POLICY
    headers = {
        "Referrer-Policy": policy if isinstance(policy, str) else ",".join(policy or ()),
        "Cross-Origin-Opener-Policy": settings.SECURE_CROSS_ORIGIN_OPENER_POLICY,
        "X-Content-Type-Options": "nosniff" if settings.SECURE_CONTENT_TYPE_NOSNIFF else "",
    }
    return _encoded({name: value for name, value in headers.items() if value})


def _encoded(headers: Mapping[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers with lower-case names; of repeated ones the first."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def cors_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What django-cors-headers adds to the answer to a request with these headers."""
    if "origin" not in headers:
        return {"Vary": "origin"}
    exposed = ", ".join(settings.CORS_EXPOSE_HEADERS)
    return {"Vary": "origin", "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": exposed}


@functools.cache
def json_headers(has_origin: bool) -> Headers:
    """Of an answer in JSON to a request that names its origin, or that does not."""
    return header_list({"Content-Type": JSON_TYPE, **cors_headers({"origin": ""} if has_origin else {})})


def query_of(scope: Scope) -> dict[str, str]:
    """The query's parameters; of repeated ones the first. Bytes that are no UTF-8 are replaced, as Django does."""
    query: dict[str, str] = {}
    if not scope["query_string"]:
        return query
    for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        query.setdefault(name, value)
    return query


def address_of(scope: Scope) -> str:
    """The client's address as the server (or the proxy it trusts) tells it."""
    return scope["client"][0] if scope.get("client") else ""


async def send_response(send: Send, response: Response) -> None:
    headers = [*response.headers, (b"content-length", str(len(response.body)).encode())]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def refuse_handshake(scope: Scope, send: Send, response: Response) -> None:
    """Answer a WebSocket handshake with plain HTTP; where the server cannot (Daphne), it answers 403 itself."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": response.status, "headers": response.headers})
        await send({"type": "websocket.http.response.body", "body": response.body})
    else:
        await send({"type": "websocket.close", "code": 1008})


def text_frame(payload: bytes) -> bytes:
    return _frame(0x81, payload)


def binary_frame(payload: bytes) -> bytes:
    return _frame(0x82, payload)


def _frame(head: int, payload: bytes) -> bytes:
    """One whole WebSocket frame as a server sends it: final, unmasked (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", head, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", head, 126, size) + payload
    return struct.pack("!BBQ", head, 127, size) + payload


class FrameSink(Sink, Protocol):
    """A subscriber's way to the connection, on servers that let frames be written (`server.websocket`)."""

    async def send(self, events: Sequence[Event]) -> None:
        """All of them in one write, once the connection has room."""

    @staticmethod
    def of(scope: Scope, encode: Callable[[Event], bytes]) -> "FrameSink | None":
        """`encode` gives the frame of an event (b"": it is not shown); None where the server has no such sink."""
        make = scope.get("extensions", {}).get("pubsub.frames")
        return make(encode) if make else None


class StreamingConsumer(AsyncConsumer):
    """A consumer for answers that take long: `respond` is cancelled when the client hangs up.

    Channels' own HTTP consumer hears of a hang-up only after its handler has returned.
    """

    channel_layer_alias = None  # messages come from the hub: a mailbox per connection would cost and bring nothing

    @abc.abstractmethod
    async def respond(self) -> None:
        """Answer the request; write with `self.send`."""

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        self.scope, self.base_send = scope, send
        answering = asyncio.ensure_future(self.respond())
        hanging_up = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({answering, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hanging_up.cancel()
            if not answering.done():
                answering.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):  # OSError: the client left in the middle of a write
                await answering


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass  # the body of a GET is tolerated and unread
