"""uvicorn's WebSocket protocol, which lets consumers write prebuilt frames, and holds little for a quiet connection.

It offers two things through `scope["extensions"]`, which no other server has:

* `pubsub.frames`: a function from an encoder (event → frame) to a `FrameWriter`. Its bytes go to the transport as they are,
  past ASGI's `send`, which costs a task switch and an encoding per connection.
* `pubsub.pings`: a function `(interval, timeout)` in seconds (None: never), to be called before accepting.
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Any

from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from channels_app.core.recovery import Event

FRAMES = "pubsub.frames"
PINGS = "pubsub.pings"
BACKLOG = 64 * 1024  # bytes: when more wait in a transport, its connection takes no frames


class FrameWriter:
    """A sink of whole WebSocket frames, unmasked and uncompressed as a server's are, between those that uvicorn writes."""

    __slots__ = ("connection", "encode")

    backlog = BACKLOG

    def __init__(self, connection: "PubSubWebSocketProtocol", encode: Callable[[Event], bytes]) -> None:
        self.connection = connection
        self.encode = encode

    async def send(self, events: Sequence[Event]) -> None:
        """Write them as soon as the transport asks for more: for who reads history, at the connection's pace."""
        await self.connection.writable.wait()
        if not self.connection.has_ended:
            self.connection.transport.write(b"".join(map(self.encode, events)))


class EventQueue:
    """What uvicorn needs of an asyncio.Queue, which has three deques of 624 bytes each. One reader waits at a time."""

    __slots__ = ("_events", "_waiting")

    def __init__(self) -> None:
        self._events: list[ASGIReceiveEvent] = []
        self._waiting: asyncio.Future[ASGIReceiveEvent] | None = None

    def empty(self) -> bool:
        return not self._events

    def put_nowait(self, event: ASGIReceiveEvent) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(event)
        else:
            self._events.append(event)

    def get(self) -> "asyncio.Future[ASGIReceiveEvent]":
        self._waiting = asyncio.get_running_loop().create_future()
        if self._events:
            self._waiting.set_result(self._events.pop(0))
        return self._waiting


WRITABLE = asyncio.Event()  # of all connections that are: their own has a deque as well
WRITABLE.set()


class PubSubWebSocketProtocol(WebSocketsSansIOProtocol):
    """Named in `uvicorn_server.configure`; uvicorn is pinned to a minor version because of this class."""

    # More than thirty attributes of one instance are a dictionary of 1.6 KB: these are none.
    __slots__ = (
        "_close_sent",
        "close_timeout",
        "close_timer",
        "conn",
        "curr_msg_data_type",
        "disconnected",
        "frames",
        "handshake_complete",
        "handshake_initiated",
        "initial_response",
        "last_ping_rtt",
        "pending_ping_payload",
        "ping_interval",
        "ping_sent_at",
        "ping_timeout",
        "ping_timer",
        "pong_timer",
        "queue",
        "read_paused",
        "request",
        "response",
        "scope",
        "takes_frames",
        "transport",
        "writable",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue = EventQueue()  # type: ignore[assignment]
        self.writable = WRITABLE

    @property
    def close_sent(self) -> bool:
        return self._close_sent

    @close_sent.setter
    def close_sent(self, sent: bool) -> None:
        self._close_sent = sent
        self.takes_frames = False  # nothing may follow a close frame
        if sent:  # a refusal ends the handshake too: uvicorn would log the application that refused as broken
            self.handshake_complete = True

    @property
    def has_ended(self) -> bool:
        """Its end is on its way to the consumer."""
        return self._close_sent or self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=BACKLOG)

    def pause_writing(self) -> None:
        self.writable = asyncio.Event()
        self.takes_frames = False

    def resume_writing(self) -> None:
        self.writable.set()
        self.writable = WRITABLE
        self.takes_frames = self.handshake_complete and not self.has_ended

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self.takes_frames = False

    def shutdown(self) -> None:
        super().shutdown()
        self.takes_frames = False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.takes_frames = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # Headers that cannot be read, or are too long. uvicorn leaves such a client waiting for ever.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.close_sent:  # the handshake was no good, and is answered already
            return
        # The application's task has been made, and does not run before we return.
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[PINGS] = self.set_pings
        if not self.conn.available_extensions:  # compressed frames differ from connection to connection
            extensions[FRAMES] = functools.partial(FrameWriter, self)

    def set_pings(self, interval: float | None, timeout: float | None) -> None:
        self.ping_interval, self.ping_timeout = interval, timeout

    def start_keepalive(self) -> None:
        """Called once the handshake is over: what was said in it is for nobody any more."""
        super().start_keepalive()
        self.takes_frames = self.writable is WRITABLE
        self.request.headers.clear()  # the parser's frame has it for as long as the connection lives
        del self.request, self.response, self.scope
