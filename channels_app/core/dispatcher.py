"""One watched room of one channel in a hub: keeps order, fills gaps, fans out.

Its position is the newest id it has handed to its subscribers. Whatever hints say, and in whatever order, it goes forward
only by messages that continue the position, or by reading the log after it; so each subscriber is offered every message
once and in order. All methods belong to the hub's event loop; `advance` never waits.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence

from django.db import DatabaseError

from channels_app.conf import conf

from . import metrics, recovery
from .database import in_thread
from .errors import NotFound
from .recovery import Event
from .subscriber import Sink, Subscriber, read_page
from .types import CHANNEL_DELETED, CloseReason, Head, Message

logger = logging.getLogger(__name__)

FILL_PAGE = 500


class Dispatcher:
    def __init__(self, channel_id: int, room: str | None, loop: asyncio.AbstractEventLoop) -> None:
        self.channel_id = channel_id
        self.room = room
        # In the order in which they came, which is roughly that of their memory: a set's costs a tenth more.
        self._flows: dict[metrics.Readers, dict[Sink, Subscriber]] = {}  # those that are written to, by their front
        self._apart: set[Subscriber] = set()  # the others
        self.idle_since = loop.time()
        self.epoch = ""  # of the ids here: hints have told of it, and may be behind
        self.begun_at = 0  # ids up to here were never offered: who joins reads them from the log
        self.offered = 0  # the newest id that was
        self._loop = loop
        self._position: int | None = None  # None: nobody has told where the log stands
        self._target = 0  # the newest id anybody has told of
        self._filling: asyncio.Task[None] | None = None
        self._told = False  # `advance` was called while the page of a fill was being read
        self._outbox: list[Event] = []

    def attach(self, subscriber: Subscriber) -> None:
        subscriber.start_buffering(self)
        self._apart.add(subscriber)

    def detach(self, subscriber: Subscriber) -> None:
        subscriber.stop_resting()
        self._apart.discard(subscriber)
        if not self.has_subscribers:
            self.idle_since = self._loop.time()
            self._position = None  # nobody is owed anything: the next one starts from the log

    @property
    def has_subscribers(self) -> bool:
        return bool(self._apart) or any(self._flows.values())

    def _subscribers(self) -> list[Subscriber]:
        return [*self._apart, *(subscriber for flow in self._flows.values() for subscriber in flow.values())]

    def start_flow(self, subscriber: Subscriber, sink: Sink) -> None:
        self._apart.discard(subscriber)
        self._flows.setdefault(subscriber.readers, {})[sink] = subscriber

    def stop_flow(self, subscriber: Subscriber, sink: Sink) -> None:
        del self._flows[subscriber.readers][sink]
        self._apart.add(subscriber)

    def start(self, head: Head) -> None:
        """Tell where the log stands; ignored when that is known already."""
        if self._position is None:
            self.epoch = head.epoch
            # Whatever the room has up to there, its subscribers read from the log.
            self._position = self.begun_at = self.offered = head.top_id
            self._fill_if_behind()

    def advance(self, epoch: str, last_id: int, messages: Sequence[Message] = ()) -> bool:
        """The log has grown: `last_id` is the room's newest, `messages` some of the new ones, oldest first.

        Returns whether that was news, which to the safety poll means that a hint was lost.
        """
        if self._position is None:
            self._target = max(self._target, last_id)
            return False
        if epoch != self.epoch:
            self._restart(epoch, last_id)
            return True
        known = max(self._target, self._position)
        self._target = max(self._target, last_id)
        self._told = True
        if self._filling is None:
            self._take(messages)
            self._fill_if_behind()
        return last_id > known

    def close(self, reason: CloseReason) -> None:
        for subscriber in self._subscribers():
            subscriber.close(reason)

    def _take(self, messages: Sequence[Message]) -> None:
        """Hand on those of the messages that continue the position."""
        position = self._position or 0
        events: list[Event] = []
        for message in messages:
            if message.id <= position:
                continue  # a repeat
            if recovery.previous_id(message, self.room) > position:
                break  # something before it has not arrived: the log has it
            position = message.id
            events.append(message)
        self._position = position
        self._fan_out(events)

    def _fan_out(self, events: Sequence[Event]) -> None:
        """Offer them at the end of this tick of the event loop, with what else gathers until then: one write for all."""
        metrics.count_gap(events)
        if events and not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.extend(events)

    def _flush(self) -> None:
        events, self._outbox = self._outbox, []
        if not events:
            return  # the log was replaced meanwhile
        size = sum(event.size for event in events if isinstance(event, Message))
        late = self._write(events)
        for subscriber in [*self._apart, *late]:
            subscriber.offer(events, size)
        self.offered = recovery.last_id(events[-1])  # last: who left the flow meanwhile got what was offered before

    def _write(self, events: Sequence[Event]) -> list[Subscriber]:
        """Write to all who keep up, and return the others."""
        late: list[Subscriber] = []
        frames_of = functools.cache(functools.partial(_frames, events))
        for readers, flow in self._flows.items():
            encode, frames, fits, behind = None, b"", False, len(late)
            for sink in flow:  # a thousand connections have their share in every line of this loop
                if sink.encode is not encode:
                    encode = sink.encode
                    frames, fits = frames_of(encode, conf.SUBSCRIBER_BYTES - sink.backlog)
                connection = sink.connection
                if fits and connection.takes_frames:
                    try:
                        connection.transport.write(frames)
                    except Exception:  # noqa: BLE001  (for its reader to meet again: the others must not miss anything)
                        late.append(flow[sink])
                else:
                    late.append(flow[sink])
            readers.delivered += len(events) * (len(flow) - len(late) + behind)
        return late

    def _restart(self, epoch: str, last_id: int) -> None:
        """The log was replaced under us (a backup was restored): go on from its end. Subscribers see it for themselves."""
        self.epoch, self._position, self._target = epoch, last_id, last_id
        self._outbox.clear()
        for subscriber in self._subscribers():
            subscriber.read_on(subscriber.position)
        self.offered = last_id

    def _fill_if_behind(self) -> None:
        if self._position is not None and self._position < self._target and self._filling is None and self.has_subscribers:
            self._filling = self._loop.create_task(self._fill())

    async def _fill(self) -> None:
        """Read from the log until nothing that anybody told of is missing."""
        metrics.GAPS_FILLED.inc()
        try:
            while self._position is not None and self._position < self._target:
                await self._fill_page(self._position)
        except NotFound:
            self.close(CHANNEL_DELETED)
        except DatabaseError as error:
            logger.warning("Channel %d waits for the log: %s", self.channel_id, error)  # the safety poll tries again
        finally:
            self._filling = None

    async def _fill_page(self, position: int) -> None:
        self._told = False
        head, messages, _ = await in_thread(read_page, self.channel_id, self.room, position, FILL_PAGE)
        if self._position != position or head.epoch != self.epoch:
            if self._position is not None and head.epoch != self.epoch:
                self._restart(head.epoch, head.last_id)
            return
        events: list[Event] = list(messages)
        if gap := recovery.missing(position, messages, head, self.room):
            events.insert(0, gap)
        if events:
            self._position = recovery.last_id(events[-1])
            self._fan_out(events)
        elif not self._told:
            self._target = position  # somebody told of an id that the log does not have


def _frames(events: Sequence[Event], encode: Callable[[Event], bytes], limit: int) -> tuple[bytes, bool]:
    """Their frames, and whether those can be written at once. A dialect that fails must not fail the others."""
    try:
        frames = b"".join(map(encode, events))
    except Exception:
        logger.exception("Events could not be encoded")
        return b"", False
    return frames, len(frames) <= limit
