"""One live connection as the hub sees it: takes every event of its room after its position, once and in order.

It is in one of two states. *Live*: the dispatcher's events wait here, at most `conf.SUBSCRIBER_BYTES` of them. *Reading*: it
takes pages from the log, at its own pace; that is how it starts, and what it falls back to when it was too slow (law 6).
To go live again it buffers what the dispatcher offers while it reads the last page, and merges: what was read is dropped
from the buffer, and the rest must continue it without a hole, or it reads on.

Where the server lets frames be written directly (`Sink`), a live subscriber whose reader rests *flows*: the dispatcher writes
its frames to the connection, and nobody is woken. When the connection does not take them, they wait here for the reader.
"""

import asyncio
import bisect
import functools
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from django.db import DatabaseError

from channels_app.conf import conf

from . import log, metrics, recovery
from .credentials import Credentials
from .database import in_thread
from .directory import ChannelInfo
from .errors import NotFound
from .recovery import Event
from .types import CHANNEL_DELETED, NO_FRONT, CloseReason, Front, Gap, GapReason, Head, Message, Position, Recovery

logger = logging.getLogger(__name__)

PAGE = 200  # messages of the first page at most; later ones are about as long as SUBSCRIBER_BYTES allows
MAX_PAGE = 5_000
RETRY_SECONDS = 0.5


class Transport(Protocol):
    def write(self, data: bytes, /) -> None: ...


class Connection(Protocol):
    """`takes_frames`: no more than the sink's `backlog` waits in its transport, and it has not ended."""

    takes_frames: bool
    transport: Transport


class Sink(Protocol):
    """A subscriber's way to its connection. All that share an encoding share the bytes; they may change theirs at any time.

    Plain attributes: the dispatcher writes to the transport itself, since a call for each connection is what a fan-out would
    mostly consist of.
    """

    encode: Callable[[Event], bytes]
    connection: Connection
    backlog: int


class Feed(Protocol):
    """What a subscriber needs to know of its dispatcher."""

    epoch: str
    begun_at: int
    offered: int

    def start_flow(self, subscriber: "Subscriber", sink: Sink) -> None: ...
    def stop_flow(self, subscriber: "Subscriber", sink: Sink) -> None: ...


class Page(NamedTuple):
    """What the log had after a position, and where the room stood before it was read. `is_last`: there was no more."""

    head: Head
    messages: list[Message]
    is_last: bool


class SubscriberClosed(Exception):
    """The server has ended this subscriber; `reason` has the code that says whether to come back."""

    def __init__(self, reason: CloseReason) -> None:
        self.reason = reason
        super().__init__(reason.reason)


@dataclass(frozen=True, slots=True)
class Access:
    """By what right a subscriber reads, and since which version of the directory that is known (`directory.as_of`)."""

    credentials: Credentials
    channel: ChannelInfo
    as_of: int = field(compare=False)


class Subscriber:
    """Use it through `hub.subscribe`. All methods belong to the event loop of its hub."""

    __slots__ = (
        "_buffer",
        "_buffering",
        "_bytes",
        "_closed",
        "_feed",
        "_live",
        "_page",
        "_position",
        "_reached",
        "_reading",
        "_wake",
        "access",
        "access_as_of",
        "channel_id",
        "epoch",
        "flows",
        "front",
        "joined_at",
        "readers",
        "recovery",
        "room",
        "sink",
    )

    def __init__(
        self,
        channel_id: int,
        room: str | None,
        access: Access | None = None,
        sink: Sink | None = None,
        front: Front = NO_FRONT,
    ) -> None:
        self.channel_id = channel_id
        self.room = room
        self.access = access
        self.sink = sink
        self.front = front
        self.readers = metrics.readers(front)
        self.access_as_of = access.as_of if access else 0
        self.joined_at = 0  # the position it started from
        self.epoch = ""
        self.recovery = Recovery.COMPLETE
        self.flows = False
        self._feed: Feed | None = None
        self._position = 0
        self._live = False
        self._buffering = False
        self._buffer: list[Event] = []  # what `next` gives out, or, while buffering, what was offered meanwhile
        self._bytes = 0
        self._reached = 0  # when live: the position once the buffer has been taken
        self._page = PAGE
        self._reading = False
        self._closed: CloseReason | None = None
        self._wake: Callable[[], None] | None = None

    # The hub's side

    def offer(self, events: Sequence[Event], size: int) -> None:
        """Events that follow what was offered before, `size` bytes in all. Never waits."""
        self._stop_flow()
        if not (self._live or self._buffering):
            return  # it will find them in the log
        if self._live:
            if not self._in_step:
                return
            if recovery.first_id(events[0]) <= self._reached:
                # The dispatcher may lag behind what was read from the log.
                events = recovery.newer(self._reached, events)
                if not events:
                    return
            self._reached = recovery.last_id(events[-1])
        if self._bytes + size > conf.SUBSCRIBER_BYTES:
            self.fall_back(self._position)
        else:
            self._buffer.extend(events)
            self._bytes += size
            self._wake_up()

    def fall_back(self, position: int) -> None:
        """It is too slow for what came after that position."""
        metrics.SLOW_FALLBACKS.inc()
        self.read_on(position)

    def read_on(self, position: int) -> None:
        """Drop what waits, but not a notice of another epoch, and read the log again after that position."""
        self._stop_flow()
        self._live = self._buffering = False
        self._position = position
        self._buffer, self._bytes = [event for event in self._buffer if recovery.is_epoch(event)], 0
        self._wake_up()

    def close(self, reason: CloseReason) -> None:
        """End it: the reader is told instead of its next events."""
        self._closed = self._closed or reason
        self._wake_up()

    def renew(self, access: Access) -> None:
        """It reads by this right from now on."""
        self.access, self.access_as_of = access, access.as_of

    def start_buffering(self, feed: Feed) -> None:
        self._feed = feed
        self._buffering = True

    def join(self, after: Position | None, page: Page) -> None:
        """Begin, with the first page after `after`, read after buffering began."""
        head, messages, is_last_page = page
        self.epoch = head.epoch
        self._position = self.joined_at = recovery.start(after, head)
        events: list[Event] = list(messages)
        gap = recovery.missing(self._position, messages, head, self.room) if after is not None else None
        self.recovery = recovery.judge(after, head, gap)
        if self.recovery is Recovery.OTHER_EPOCH:
            events.insert(0, Gap(0, 0, GapReason.EPOCH))
        elif gap:
            events.insert(0, gap)
        # The dispatcher may have begun behind what was read here: what is between was offered to nobody.
        has_all = self._feed is not None and self._feed.begun_at <= head.top_id
        self._merge(events, is_last_page=has_all and is_last_page)

    @property
    def position(self) -> int:
        """The newest id that its reader was given."""
        return self._feed.offered if self.flows and self._feed else self._position

    @property
    def closed(self) -> CloseReason | None:
        """Why the server ended it; None: it did not."""
        return self._closed

    @property
    def buffered_bytes(self) -> int:
        """What the dispatcher's events that wait here take in memory."""
        return self._bytes

    # The reader's side

    @property
    def has_events(self) -> bool:
        """Whether `next` would answer at once, when asked right after joining."""
        return bool(self._buffer)

    def rest(self, wake: Callable[[], None]) -> bool:
        """Whether nothing waits. Then `wake` is called, once, when `next` has something; until then the sink is written to."""
        if self._closed or self._buffer or not self._live:
            return False
        self._wake = wake
        if self.sink and self._feed and not self.flows and self._in_step and self._reached <= self._feed.offered:
            self.flows = True
            self._feed.start_flow(self, self.sink)
        return True

    @property
    def _in_step(self) -> bool:
        """Whether the dispatcher's ids mean what ours do. Once it comes to our epoch from another, it has us read on."""
        return self._feed is not None and self._feed.epoch == self.epoch

    def stop_resting(self) -> None:
        self._stop_flow()
        self._wake = None

    def _stop_flow(self) -> None:
        if self.flows and self._feed and self.sink:
            self._feed.stop_flow(self, self.sink)
            self.flows = False
            self._position = self._reached = self._feed.offered

    async def next(self) -> list[Event]:
        """The next events, at least one. Raises SubscriberClosed. One reader at a time: two would undo each other's steps."""
        if self._reading:
            raise RuntimeError("Another reader waits for this subscriber's next events.")
        self._reading = True
        try:
            return await self._next()
        finally:
            self._reading = False

    async def _next(self) -> list[Event]:
        while True:
            if self._closed:
                raise SubscriberClosed(self._closed)
            if self._buffer and not self._buffering:
                return self._take()
            if not self._live:
                await self._read_page()
            else:
                await self._until_woken()

    async def _until_woken(self) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rest(functools.partial(_resolve, woken))
        try:
            await woken
        finally:
            self.stop_resting()

    def _wake_up(self) -> None:
        if wake := self._wake:
            self.stop_resting()
            wake()

    def _take(self) -> list[Event]:
        events, self._buffer, self._bytes = self._buffer, [], 0
        self._position = recovery.last_id(events[-1])
        self.readers.delivered += len(events)
        return events

    async def _read_page(self) -> None:
        """Put the next page of the log into the buffer; after the last page, go live."""
        self._buffer, self._bytes, self._buffering = [], 0, True
        try:
            head, messages, is_last_page = await in_thread(read_page, self.channel_id, self.room, self._position, self._page)
        except NotFound:
            self.close(CHANNEL_DELETED)
            return
        except DatabaseError as error:
            # The log may be back in a moment: a live connection is worth waiting for it.
            logger.warning("A subscriber of channel %d waits for the log: %s", self.channel_id, error)
            self._buffer, self._buffering = [], False  # what was offered meanwhile follows a page that was not read
            await asyncio.sleep(RETRY_SECONDS)
            return
        if head.epoch != self.epoch:  # the log was replaced under us: go on from its end, as the dispatcher does
            self.epoch = head.epoch
            self._merge([Gap(0, head.top_id, GapReason.EPOCH)], is_last_page=False)
            return
        events: list[Event] = list(messages)
        if gap := recovery.missing(self._position, messages, head, self.room):
            events.insert(0, gap)
        self._merge(events, is_last_page=is_last_page)
        self._fit_page(messages)

    def _merge(self, events: list[Event], *, is_last_page: bool) -> None:
        """Let the events read from the log be taken next, and go live when what was buffered meanwhile continues them."""
        metrics.count_gap(events)
        reached = recovery.last_id(events[-1]) if events else self._position
        offered = recovery.newer(reached, self._buffer) if self._in_step else []
        self._live = self._buffering and is_last_page and recovery.continues(reached, offered, self.room)
        self._buffering = False
        self._buffer = events + offered if self._live else events
        self._reached = recovery.last_id(self._buffer[-1]) if self._buffer else reached
        self._wake_up()

    def _fit_page(self, messages: Sequence[Message]) -> None:
        if messages:
            average = sum(message.size for message in messages) // len(messages)
            self._page = max(1, min(MAX_PAGE, conf.SUBSCRIBER_BYTES // average))


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def read_page(channel_id: int, room: str | None, after: int, limit: int) -> Page:
    """The head first: a message that is missing from a later read, though the head counted it, is gone."""
    return read_rest(log.head(channel_id, room), channel_id, room, after, limit)


def read_rest(head: Head, channel_id: int, room: str | None, after: int, limit: int) -> Page:
    """Up to `limit` messages, as many as one subscriber may hold, and at least one that there is."""
    messages = log.read_after(channel_id, room, after, limit)
    sizes = list(itertools.accumulate(message.size for message in messages))
    fitting = messages[: max(1, bisect.bisect_right(sizes, conf.SUBSCRIBER_BYTES))]
    return Page(head, fitting, is_last=len(fitting) == len(messages) < limit)
