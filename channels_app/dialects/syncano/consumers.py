"""Live delivery on `…/channels/{c}/poll/` (wire/syncano.md §10): long poll, WebSocket, and beside them Server-Sent Events.

One URL, three transports. Each authenticates and authorizes as the REST views do, joins the hub, and writes what the
subscriber gives it. What is ours beside Syncano's own: SSE, the WebSocket's opt-in first frame (`?hello=1`), and the words
for a gap.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from django.db import DatabaseError

from channels_app.conf import conf
from channels_app.core import directory, hub, throttling
from channels_app.core.credentials import Credentials
from channels_app.core.database import in_thread
from channels_app.core.directory import ChannelInfo
from channels_app.core.errors import NotFound, PermissionDenied, PubSubError, StoreUnavailable, Throttled
from channels_app.core.permissions import Action
from channels_app.core.recovery import Event
from channels_app.core.subscriber import Access, Subscriber, SubscriberClosed
from channels_app.core.types import CHANNEL_DELETED, RESTARTING, CloseReason, Front, Gap, Message, Position
from channels_app.dialects.base import Response
from channels_app.dialects.live import (
    Scope,
    StreamingConsumer,
    address_of,
    cors_headers,
    header_list,
    headers_of,
    json_response,
    query_of,
    refuse_handshake,
    send_response,
)
from channels_app.dialects.sockets import DeliveringConsumer

from .access import admit
from .auth import credentials
from .encoding import poll_json
from .errors import render
from .parsing import PollRequest, integer, parse_poll

EVENT_STREAM = "text/event-stream"
LONG_POLL, SSE, WEBSOCKET = (Front("syncano", transport) for transport in ("poll", "sse", "websocket"))


class Request:
    """A poll request of any transport, read from its scope."""

    def __init__(self, scope: Scope) -> None:
        self.headers = headers_of(scope)
        self.query = query_of(scope)
        self.cors = cors_headers(self.headers)
        self.credentials: Credentials = credentials(self.headers, self.query)
        self._route: dict[str, str] = scope["url_route"]["kwargs"]
        self._address = address_of(scope)
        self._as_of = 0

    @property
    def wants_events(self) -> bool:
        return self.query.get("transport") == "sse" or EVENT_STREAM in self.headers.get("accept", "")

    @property
    def wants_websocket(self) -> bool:
        return self.query.get("transport") == "websocket"

    async def admit(self) -> tuple[ChannelInfo, PollRequest]:
        """The channel it may read, and what of it. Raises PubSubError."""
        return await in_thread(self._admit)

    def _admit(self) -> tuple[ChannelInfo, PollRequest]:
        try:
            self._as_of = directory.as_of()
            _, _, channel = admit(self.credentials, self._route["instance"], self._route["channel"], Action.READ, poll=True)
            return channel, parse_poll(self.query, channel)
        except Throttled:
            raise
        except DatabaseError:
            raise StoreUnavailable from None
        except PubSubError:
            # A client that repeats a refused poll at once, as the JavaScript SDK does, is slowed down.
            throttling.count_failed_poll(self.credentials.api_key or self._address)
            raise

    def refusal(self, error: PubSubError) -> Response:
        status, body, headers = render(error)
        return self.answer(status, body, headers)

    def answer(self, status: int, body: dict[str, object], headers: dict[str, str] | None = None) -> Response:
        return json_response(status, body, {**self.cors, **(headers or {})})

    def access(self, channel: ChannelInfo) -> Access:
        return Access(self.credentials, channel, self._as_of)


def closed_error(reason: CloseReason) -> PubSubError:
    """What the end of a subscriber means to a long poll. Restarting is a 429: both SDKs wait and repeat after one (§1)."""
    if reason is RESTARTING:
        return Throttled(1, "The server is restarting.")
    return NotFound("message") if reason is CHANNEL_DELETED else PermissionDenied("rights were taken away")


class PollConsumer(StreamingConsumer):
    """Long poll, or Server-Sent Events when the client asks for them."""

    async def respond(self) -> None:
        request = Request(self.scope)
        try:
            channel, poll = await request.admit()
            if request.wants_websocket:
                response = request.answer(400, {"detail": "Expected WebSocket connection."})
            elif request.wants_events:
                await self._stream(request, channel, poll)
                return
            else:
                response = await _long_poll(request, channel, poll)
        except SubscriberClosed as closed:
            response = request.refusal(closed_error(closed.reason))
        except DatabaseError:
            response = request.refusal(StoreUnavailable())
        except PubSubError as error:
            response = request.refusal(error)
        await send_response(self.send, response)

    async def _stream(self, request: Request, channel: ChannelInfo, poll: PollRequest) -> None:
        last_event_id = integer(request.headers.get("last-event-id", ""))
        after = _position(request, poll.last_id if last_event_id is None else last_event_id)
        access = request.access(channel)
        async with hub.subscribe(channel.id, poll.room, after=after, access=access, front=SSE) as subscriber:
            headers = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-cache", "X-Accel-Buffering": "no", **request.cors}
            await self.send({"type": "http.response.start", "status": 200, "headers": header_list(headers)})
            await self._write(b"retry: 1000\n\n")
            if self.scope["method"] != "HEAD":
                await self._write_events(subscriber)
        await self.send({"type": "http.response.body", "body": b""})

    async def _write_events(self, subscriber: Subscriber) -> None:
        """Until the server ends the subscriber: then the client's EventSource comes back with its last id."""
        while True:
            waiting = asyncio.ensure_future(subscriber.next())
            try:
                while not (await asyncio.wait({waiting}, timeout=conf.SSE_HEARTBEAT))[0]:
                    await self._write(b": still here\n\n")
                await self._write(b"".join(map(_server_sent, waiting.result())))
            except SubscriberClosed as closed:
                await self._write(_event("closed", {"code": closed.reason.code, "reason": closed.reason.reason}))
                return
            finally:
                waiting.cancel()

    async def _write(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})


async def _long_poll(request: Request, channel: ChannelInfo, poll: PollRequest) -> Response:
    """One message: the oldest after last_id at once, or the first to come; 204 when none comes (D15)."""
    after, access = _position(request, poll.last_id), request.access(channel)
    async with hub.subscribe(channel.id, poll.room, after=after, access=access, front=LONG_POLL) as subscriber:
        waited = not subscriber.has_events
        headers = {"Content-Type": "application/json; charset=utf-8", **request.cors}
        try:
            async with asyncio.timeout(conf.POLL_WAIT):
                message, gaps = await _first_message(subscriber)
        except TimeoutError:
            return Response(204, header_list({"Cache-Control": "no-cache", **request.cors}), b"")
        if waited:
            headers |= {"Cache-Control": "no-cache", "X-Last-Id": str(message.id)}
        if gaps:
            headers["X-Gap"] = ", ".join(f"{gap.reason} {gap.from_id}-{gap.to_id}" for gap in gaps)
        return Response(200, header_list(headers), poll_json(message))


async def _first_message(subscriber: Subscriber) -> tuple[Message, list[Gap]]:
    gaps: list[Gap] = []
    while True:
        for event in await subscriber.next():
            if isinstance(event, Message):
                return event, gaps
            gaps.append(event)


class ChannelConsumer(DeliveringConsumer):
    """A WebSocket: one text frame per message, as in a long poll; frames of the client are ignored (§10)."""

    async def connect(self) -> None:
        request = Request(self.scope)
        announces = request.query.get("hello") in ("1", "true")
        try:
            channel, poll = await request.admit()
            subscriber = await self.join(
                _announcing_text if announces else _text,
                channel.id,
                poll.room,
                after=_position(request, poll.last_id),
                access=request.access(channel),
                front=WEBSOCKET,
            )
        except (PubSubError, DatabaseError) as error:
            known = error if isinstance(error, PubSubError) else StoreUnavailable()
            # Before the handshake, as on the wire; a browser only sees that it failed.
            await refuse_handshake(self.scope, self.base_send, request.refusal(known))
            return
        await self.accept()
        if announces:
            await self.send(text_data=_dumps(_hello(channel, poll.room, subscriber)))
        self.deliver()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Frames of the client mean nothing here."""


def _position(request: Request, last_id: int | None) -> Position | None:
    """Where the client wants to go on. A negative last_id waits, as none does (§10); `epoch` makes a resume exact."""
    if last_id is None or last_id < 0:
        return None
    return Position(last_id, request.query.get("epoch", ""))


def _text(event: Event) -> bytes:
    """A gap has no words on Syncano's own wire."""
    return poll_json(event) if isinstance(event, Message) else b""


def _announcing_text(event: Event) -> bytes:
    return poll_json(event) if isinstance(event, Message) else _dumps({"gap": _gap(event)}).encode()


def _server_sent(event: Message | Gap) -> bytes:
    if isinstance(event, Gap):
        return _event("gap", _gap(event))
    return b"id: %d\ndata: %b\n\n" % (event.id, poll_json(event))


def _event(name: str, data: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {_dumps(data)}\n\n".encode()


def _gap(gap: Gap) -> dict[str, object]:
    return {"from": gap.from_id, "to": gap.to_id, "reason": str(gap.reason)}


def _hello(channel: ChannelInfo, room: str, subscriber: Subscriber) -> dict[str, object]:
    return {
        "hello": {
            "channel": channel.name,
            "room": room or None,
            "epoch": subscriber.epoch,
            "last_id": subscriber.joined_at,
            "recovery": str(subscriber.recovery),
        }
    }


def _dumps(data: dict[str, object]) -> str:
    return json.dumps(data, separators=(",", ":"))


_poll = PollConsumer.as_asgi()
_channel = ChannelConsumer.as_asgi()


async def poll(scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """The poll URL's ASGI application."""
    await (_channel if scope["type"] == "websocket" else _poll)(scope, receive, send)
