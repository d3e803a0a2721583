"""uvicorn's WebSocket protocol, which lets consumers write prebuilt frames (DESIGN: the fast writer).

It offers two things through `scope["extensions"]`, which no other server has:

* `pubsub.frames`: a `FrameWriter`. Its bytes go to the transport as they are, past ASGI's `send`, which costs a task switch and
  an encoding per connection.
* `pubsub.pings`: a function `(interval, timeout)` in seconds (None: never), to be called before accepting.
"""

import sys
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

FRAMES = "pubsub.frames"
PINGS = "pubsub.pings"


class FrameWriter:
    """Writes whole WebSocket frames, unmasked and uncompressed as a server's are, between those that uvicorn writes."""

    __slots__ = ("_protocol", "_transport")

    def __init__(self, protocol: "PubSubWebSocketProtocol") -> None:
        self._protocol = protocol
        self._transport = protocol.transport

    def write(self, frames: bytes, limit: int) -> bool:
        """False, and nothing written, when more than `limit` bytes would wait in the transport's buffer."""
        transport = self._transport
        if transport.get_write_buffer_size() + len(frames) > limit:
            return False
        if not (self._protocol.close_sent or transport.is_closing()):  # its end is on its way to the consumer
            transport.write(frames)
        return True

    async def send(self, frames: bytes) -> None:
        """Write them as soon as the transport asks for more: for who reads history, at the connection's pace."""
        await self._protocol.writable.wait()
        self.write(frames, sys.maxsize)


class PubSubWebSocketProtocol(WebSocketsSansIOProtocol):
    """Named in `uvicorn_server.configure`; uvicorn is pinned to a minor version because of this class."""

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
            extensions[FRAMES] = FrameWriter(self)

    def set_pings(self, interval: float | None, timeout: float | None) -> None:
        self.ping_interval, self.ping_timeout = interval, timeout
