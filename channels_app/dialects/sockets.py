"""What the dialects' WebSocket consumers share: hearing their client, being written to by the hub, and pings."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from channels_app.core import hub
from channels_app.core.recovery import Event
from channels_app.core.subscriber import Access, Subscriber, SubscriberClosed
from channels_app.core.types import Front, Position

from .live import FrameSink, Scope, Send, text_frame

logger = logging.getLogger(__name__)

FAILED = 1011


class Pings(NamedTuple):
    """Seconds between two pings, and in which each must be answered. None: never."""

    interval: float | None
    timeout: float | None


NO_PINGS = Pings(None, None)


class SocketConsumer(AsyncWebsocketConsumer):
    """Channels' consumer, which holds one task and little else while nothing happens.

    `pings`: how this route's connections are kept alive, on servers that let it be said (`server.websocket`); None: as the
    settings say.
    """

    channel_layer_alias = None  # messages come from the hub: a mailbox per connection would cost and bring nothing
    pings: Pings | None = None

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        """As Channels', without a task for `receive`: there is no channel layer to be heard beside it."""
        self.scope, self.base_send = scope, send
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        finally:
            await self.ended()

    async def ended(self) -> None:
        """The connection is over, however that came."""

    async def dispatch(self, message: dict[str, Any]) -> None:
        """As Channels', without a thread that looks for old database connections: `in_thread` cares for its own."""
        await getattr(self, get_handler_name(message))(message)

    async def accept(self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] | None = None) -> None:
        set_pings = self.scope.get("extensions", {}).get("pubsub.pings")
        if self.pings is not None and set_pings is not None:
            set_pings(*self.pings)
        await super().accept(subprotocol, headers)


class DeliveringConsumer(SocketConsumer):
    """Writes one subscriber's events, each as a text frame: `join`, accept, `deliver`."""

    _subscriber: Subscriber | None = None
    _catching_up: asyncio.Task[None] | None = None

    async def join(
        self,
        text: Callable[[Event], bytes],
        channel_id: int,
        room: str | None,
        *,
        after: Position | None,
        access: Access,
        front: Front,
    ) -> Subscriber:
        """Be told of the room from `after` on. Raises what `hub.join` does.

        `text` makes an event's text (b"": it is not told), and is one function for all that are told the same.
        """
        self._text = text
        self._sink = FrameSink.of(self.scope, _framing(text))
        self._subscriber = await hub.join(channel_id, room, after=after, access=access, sink=self._sink, front=front)
        return self._subscriber

    def deliver(self) -> None:
        """Write what comes, until either side ends it."""
        self.scope["headers"].clear()  # nobody asks again, and a quiet connection would hold a browser's for ever
        self._go_on()

    def _go_on(self) -> None:
        """While nothing waits there is no task for it: the hub writes to the sink, or calls this again."""
        if self._subscriber is not None and not self._subscriber.rest(self._go_on):
            self._catching_up = asyncio.ensure_future(self._catch_up(self._subscriber))

    async def _catch_up(self, subscriber: Subscriber) -> None:
        with contextlib.suppress(OSError):  # the client left in the middle of a write
            try:
                while not subscriber.rest(self._go_on):
                    await self._write(await subscriber.next())
            except SubscriberClosed as closed:
                await self.close(code=closed.reason.code, reason=closed.reason.reason)
            except OSError:
                raise
            except Exception:  # a client must not wait without a word for what cannot be told
                logger.exception("A live connection is given up")
                await self.close(code=FAILED)
        self._catching_up = None

    async def _write(self, events: Sequence[Event]) -> None:
        if self._sink is not None:
            await self._sink.send(events)
            return
        for text in filter(None, map(self._text, events)):
            await self.send(text_data=text.decode())

    async def ended(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)
        if self._subscriber is not None:
            hub.leave(self._subscriber)


@functools.cache
def _framing(text: Callable[[Event], bytes]) -> Callable[[Event], bytes]:
    """From an event to its frame; the same function for the same `text`, so that they share what it makes."""

    def frame(event: Event) -> bytes:
        payload = text(event)
        return text_frame(payload) if payload else b""

    return frame
