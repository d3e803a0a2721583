"""The streams that one connection listens to. Each has a task of its own that joins the hub and writes what comes."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from django.db import DatabaseError

from channels_app.core import hub
from channels_app.core.credentials import Credentials
from channels_app.core.errors import NotFound
from channels_app.core.recovery import Event
from channels_app.core.subscriber import Access, Subscriber, SubscriberClosed
from channels_app.core.types import CHANNEL_DELETED, RESTARTING, CloseReason, Front, Message, Position
from channels_app.dialects.live import FrameSink, Scope

from . import events, sessions
from .sessions import Session

logger = logging.getLogger(__name__)

KIND = "stream"
MAX_SUBSCRIPTIONS = 2_000
FRONT = Front("twilio", "twilsock")
LATE_SECONDS = 30.0  # in which all that a client published over the connection before is told, or refused


@dataclass(frozen=True, slots=True)
class Subscription:
    """A stream that this connection may read, and by what right."""

    sid: str
    access: Access


@dataclass(frozen=True, slots=True)
class Connection:
    """`send` writes one Twilsock frame, and never fails. `end` ends the connection for a reason that came from the hub."""

    scope: Scope
    session: Session
    send: Callable[[bytes], Awaitable[None]]
    end: Callable[[CloseReason], Awaitable[None]]


class Subscriptions:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._listeners: dict[str, Listener] = {}

    def __contains__(self, sid: str) -> bool:
        return sid in self._listeners

    @property
    def is_full(self) -> bool:
        return len(self._listeners) >= MAX_SUBSCRIPTIONS

    async def establish(self, wanted: Subscription, correlation_id: object) -> None:
        """Listen to the stream, and confirm it once nothing can be missed; one that is listened to is confirmed again."""
        listener = self._listeners.get(wanted.sid)
        if listener is None:
            listener = self._listeners[wanted.sid] = Listener(self._connection, wanted, self._forget)
        await listener.confirm(correlation_id)

    def renew(self, credentials: Credentials, as_of: int) -> None:
        """The client has a new token, which may be signed with another key: it reads by that one's right from now on."""
        for listener in self._listeners.values():
            listener.renew(credentials, as_of)

    async def cancel(self, sid: str) -> None:
        listener = self._listeners.pop(sid, None)
        if listener is not None:
            await listener.stop()
            listener.forget_position()

    def acknowledge(self, frame_id: str) -> None:
        sid, message_id = events.acknowledged(frame_id)
        if sid in self._listeners:
            self._listeners[sid].acknowledge(message_id)

    def leave_out_own(self, sid: str) -> None:
        """What this client publishes to the stream is not told to it again: the SDK has raised an event of its own."""
        if sid in self._listeners:
            self._listeners[sid].leave_out_own()

    def pass_over_own(self, sid: str, message_id: int) -> None:
        """Nobody acknowledges what this client published: that counts as if, when all before it is acknowledged."""
        if sid in self._listeners:
            self._listeners[sid].pass_over_own(message_id)

    @contextlib.contextmanager
    def leave_out_removal(self, sid: str) -> Iterator[None]:
        """While this client removes the stream: nor is it told of that, unless the removal fails."""
        listener = self._listeners.get(sid)
        if listener is None:
            yield
            return
        listener.is_told_of_removal = False
        try:
            yield
        except BaseException:
            listener.is_told_of_removal = True
            raise

    def hush(self) -> None:
        """Write nothing more, but hear what is acknowledged."""
        for listener in self._listeners.values():
            listener.hush()

    async def close(self) -> None:
        for listener in list(self._listeners.values()):
            await listener.stop()

    def _forget(self, listener: "Listener") -> None:
        if self._listeners.get(listener.sid) is listener:
            del self._listeners[listener.sid]


class Listener:
    """One subscription, from its establishing to its end; `forget` is called when it ends by itself."""

    def __init__(self, connection: Connection, wanted: Subscription, forget: Callable[["Listener"], None]) -> None:
        self.sid = wanted.sid
        self.is_told_of_removal = True
        self._connection = connection
        self._frames = events.frames_of(wanted.access.channel.uuid)
        self._author = connection.session.author
        self._access = wanted.access
        self._channel_id = wanted.access.channel.id
        self._sink = FrameSink.of(connection.scope, self._encode_others if connection.session.is_resumed else self._frames)
        # After a restart all clients are resumed, and what they share is encoded once.
        self._sharing = asyncio.get_running_loop().call_later(LATE_SECONDS, self._share_frames)
        self._forget = forget
        self._subscriber: Subscriber | None = None  # None: not yet established
        self._unconfirmed: list[object] = []  # correlation ids of those who asked for it
        self._listening = asyncio.ensure_future(self._listen())

    async def confirm(self, correlation_id: object) -> None:
        self._unconfirmed.append(correlation_id)
        if self._subscriber is not None:
            await self._confirm()

    def acknowledge(self, message_id: int) -> None:
        if self._subscriber is not None and message_id <= self._subscriber.position:  # what is above was told in another epoch
            self._move(message_id)

    def pass_over_own(self, message_id: int) -> None:
        known = self._connection.session.positions.get(self._channel_id)
        if known is not None and known.id + 1 == message_id:
            self._move(message_id)

    def _move(self, message_id: int) -> None:
        positions = self._connection.session.positions
        known = positions.get(self._channel_id)
        if self._subscriber is None or known is None or known.epoch != self._subscriber.epoch:
            return
        if known.id < message_id:
            positions[self._channel_id] = Position(message_id, known.epoch)
            sessions.current().touch(self._connection.session)

    def _share_frames(self) -> None:
        if self._sink is not None:
            self._sink.encode = self._frames

    def leave_out_own(self) -> None:
        self._sharing.cancel()
        if self._sink is not None:
            self._sink.encode = self._encode_others

    def hush(self) -> None:
        self._sharing.cancel()
        if self._sink is not None:
            self._sink.encode = _nothing

    def renew(self, credentials: Credentials, as_of: int) -> None:
        self._access = Access(credentials, self._access.channel, as_of)
        if self._subscriber is not None:
            self._subscriber.renew(self._access)

    async def stop(self) -> None:
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening

    def forget_position(self) -> None:
        """The client does not want the stream any more: when it does again, it is from then on."""
        self._connection.session.positions.pop(self._channel_id, None)
        sessions.current().touch(self._connection.session)

    async def _listen(self) -> None:
        try:
            await self._follow()
        except NotFound:
            await self._closed(CHANNEL_DELETED)
        except DatabaseError as error:
            logger.warning("A client's subscription waits for the log: %s", error)  # not confirmed: it asks again
        except Exception:
            logger.exception("A live connection is given up")
            await self._connection.end(RESTARTING)  # the client comes back, and goes on
        finally:
            self._sharing.cancel()
            self._forget(self)

    async def _follow(self) -> None:
        positions = self._connection.session.positions
        after = positions.get(self._channel_id)
        async with hub.subscribe(
            self._channel_id, "", after=after, access=self._access, sink=self._sink, front=FRONT
        ) as subscriber:
            start = Position(subscriber.joined_at, subscriber.epoch)
            if after != start:
                positions[self._channel_id] = start
                sessions.current().touch(self._connection.session)
            await sessions.current().save()  # what an earlier try could not write, too
            subscriber.renew(self._access)
            self._subscriber = subscriber
            await self._confirm()
            try:
                while True:
                    await self._tell(await subscriber.next())
                    if positions.get(self._channel_id, start).epoch != subscriber.epoch:
                        positions[self._channel_id] = start = Position(0, subscriber.epoch)
            except SubscriberClosed as closed:
                await self._closed(closed.reason)  # as long as this takes, the hub that drains waits

    async def _confirm(self) -> None:
        while self._unconfirmed:
            await self._connection.send(events.subscribed(self.sid, KIND, self._unconfirmed.pop(0)))

    async def _tell(self, happened: Sequence[Event]) -> None:
        others = [event for event in happened if not self._is_own(event)]
        if self._sink is not None:
            await self._sink.send(others)
            return
        for event in others:
            await self._connection.send(self._frames.frame(event))

    async def _closed(self, reason: CloseReason) -> None:
        if reason is not CHANNEL_DELETED:
            await self._connection.end(reason)
            return
        self.forget_position()
        if self.is_told_of_removal:
            await self._connection.send(events.removed(self.sid))

    def _encode_others(self, event: Event) -> bytes:
        return b"" if self._is_own(event) else self._frames(event)

    def _is_own(self, event: Event) -> bool:
        return isinstance(event, Message) and event.author == self._author


def _nothing(event: Event) -> bytes:
    return b""
