"""This process's registry of live subscribers, one per event loop. `subscribe` is how every transport joins.

Joining, in this order, so that nothing falls between: attach to the dispatcher and buffer → be in the channel's group of the
channel layer → read the log after the position → merge → live (DESIGN.md §5).

While something is watched, the hub looks once a second at the counters (the safety poll: hints may be lost) and at the
directory's version (rights may have been taken away by another process).
"""

import asyncio
import contextlib
import logging
import random
import weakref
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from django.db import DatabaseError

from channels_app.conf import conf

from . import directory, log, metrics, notifier, recovery
from .batcher import Gate
from .database import in_thread
from .dispatcher import Dispatcher
from .errors import PubSubError
from .permissions import Action, authorize
from .subscriber import PAGE, Access, Page, Sink, Subscriber, read_rest
from .types import (
    ALL_ROOMS,
    CHANNEL_DELETED,
    NO_FRONT,
    RESTARTING,
    REVOKED,
    CloseReason,
    Front,
    Position,
    StreamAdvanced,
)

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 2.0
IDLE_SECONDS = 10.0  # a dispatcher outlives its last subscriber by this: a long poll comes back within it


@asynccontextmanager
async def subscribe(
    channel_id: int,
    room: str | None,
    *,
    after: Position | None = None,
    access: Access | None = None,
    sink: Sink | None = None,
    front: Front = NO_FRONT,
) -> AsyncIterator[Subscriber]:
    """A subscriber of the room (ALL_ROOMS: of the whole channel), from `after` on; without it from now on.

    `access` is asked again when rights change; without it nobody asks. With a `sink`, what comes while the reader waits in
    `next` is written there instead. Raises NotFound when the channel is gone.
    """
    subscriber = await join(channel_id, room, after=after, access=access, sink=sink, front=front)
    hub = current()
    try:
        yield subscriber
    except asyncio.CancelledError:
        if not subscriber.closed:
            metrics.count_close(front, None)  # the client hung up
        raise
    finally:
        hub.detach(subscriber)
        if subscriber.closed:
            _tell_close(subscriber, subscriber.closed)


async def join(
    channel_id: int,
    room: str | None,
    *,
    after: Position | None = None,
    access: Access | None = None,
    sink: Sink | None = None,
    front: Front = NO_FRONT,
) -> Subscriber:
    """`subscribe` for a reader whose end is an event like its beginning: then it must `leave`."""
    subscriber = Subscriber(channel_id, room, access, sink, front)
    await current().attach(subscriber, after)
    return subscriber


def leave(subscriber: Subscriber) -> None:
    """The end of who did `join`: the server closed it, or its client hung up."""
    current().detach(subscriber)
    if subscriber.closed:
        _tell_close(subscriber, subscriber.closed)
    else:
        metrics.count_close(subscriber.front, None)


class Hub:
    """Use `subscribe`. Apart from the methods of `notifier.Receiver`, all belong to its event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.leaving = False  # who comes is still served, though better not sent here
        self.draining = False  # who comes is sent away
        self._dispatchers: dict[int, dict[str | None, Dispatcher]] = {}  # by channel, by room
        self._subscribers: set[Subscriber] = set()
        self._emptied = asyncio.Event()  # set while there is no subscriber
        self._emptied.set()
        self._inbox = notifier.Inbox(self)
        self._ticking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._handed_on = Gate()  # shut while what was told is not with the transports
        notifier.register(self)

    # Told from any thread (notifier.Receiver)

    def advanced(self, hint: StreamAdvanced) -> None:
        if hint.channel_id in self._dispatchers:
            self._handed_on.shut()
        self.loop.call_soon_threadsafe(self._advanced, hint)

    def wait_until_handed_on(self, seconds: float) -> None:
        if not self._handed_on.wait(seconds):
            # The loop is busy with something else, or stands still: each announcement is waited for once at most.
            self._handed_on.open()

    def deleted(self, channel_id: int) -> None:
        self.loop.call_soon_threadsafe(self._deleted, channel_id)

    def rights_changed(self) -> None:
        self.loop.call_soon_threadsafe(lambda: self._start(self._check_rights()))

    # Joining and leaving

    async def attach(self, subscriber: Subscriber, after: Position | None) -> None:
        dispatcher = self._dispatcher(subscriber.channel_id, subscriber.room)
        dispatcher.attach(subscriber)
        self._subscribers.add(subscriber)
        metrics.readers(subscriber.front).live += 1
        self._emptied.clear()
        self._keep_ticking()
        try:
            await self._inbox.watch(subscriber.channel_id)
            page = await in_thread(_read_start, subscriber.channel_id, subscriber.room, after)
            dispatcher.start(page.head)
            subscriber.join(after, page)
            if self.draining:
                subscriber.close(RESTARTING)
        except BaseException:
            self.detach(subscriber)
            raise

    def detach(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        metrics.readers(subscriber.front).live -= 1
        if not self._subscribers:
            self._emptied.set()
        self._dispatcher(subscriber.channel_id, subscriber.room).detach(subscriber)

    def _dispatcher(self, channel_id: int, room: str | None) -> Dispatcher:
        rooms = self._dispatchers.setdefault(channel_id, {})
        if room not in rooms:
            rooms[room] = Dispatcher(channel_id, room, self.loop)
        return rooms[room]

    # Hints

    def _advanced(self, hint: StreamAdvanced) -> None:
        rooms = self._dispatchers.get(hint.channel_id, {})
        for room, last_id in hint.heads.items():
            if room in rooms:
                rooms[room].advance(hint.epoch, last_id, [m for m in hint.messages if m.room == room])
        if ALL_ROOMS in rooms:
            rooms[ALL_ROOMS].advance(hint.epoch, hint.last_id, hint.messages)
        self.loop.call_soon(self._handed_on.open)  # after what the dispatchers do at the end of this tick

    def _deleted(self, channel_id: int) -> None:
        for dispatcher in self._dispatchers.pop(channel_id, {}).values():
            dispatcher.close(CHANNEL_DELETED)

    # Once a second

    def _keep_ticking(self) -> None:
        if self._ticking is None or self._ticking.done():
            self._ticking = self.loop.create_task(self._tick_while_watched())

    async def _tick_while_watched(self) -> None:
        while self._dispatchers:
            # Jitter: processes that started together must not ask together. And time to read what is found.
            await asyncio.sleep(conf.SAFETY_POLL * random.uniform(0.7, 0.9))  # noqa: S311
            try:
                await self._poll_heads()
                await self._check_rights()
            except DatabaseError as error:
                logger.warning("The safety poll waits for the log: %s", error)
            self._reap_idle()
            if not self._dispatchers:
                await self._inbox.close()  # in the loop: who comes meanwhile is looked after as well

    async def _poll_heads(self) -> None:
        keys = [(d.channel_id, d.room) for d in self._all_dispatchers() if d.has_subscribers]
        if not keys:
            return
        heads = await in_thread(log.heads, keys)
        for channel_id, room in keys:
            dispatcher = self._dispatchers.get(channel_id, {}).get(room)
            if dispatcher is None:
                continue
            head = heads.get((channel_id, room))
            if head is None:
                self._deleted(channel_id)
            elif dispatcher.advance(head.epoch, head.last_id):
                metrics.HINTS_MISSED.inc()
                # The hint was lost, perhaps with the group's memory of us: join it again. Nobody waits for Redis here.
                self._start(self._inbox.watch(channel_id, again=True))

    def _reap_idle(self) -> None:
        now = self.loop.time()
        idle = [d for d in self._all_dispatchers() if not d.has_subscribers and now - d.idle_since > IDLE_SECONDS]
        for dispatcher in idle:
            rooms = self._dispatchers[dispatcher.channel_id]
            del rooms[dispatcher.room]
            if not rooms:
                del self._dispatchers[dispatcher.channel_id]
                # A subscriber that joins while we leave may lose its hints: the safety poll joins the group again.
                self._start(self._inbox.unwatch(dispatcher.channel_id))

    def _all_dispatchers(self) -> list[Dispatcher]:
        return [dispatcher for rooms in self._dispatchers.values() for dispatcher in rooms.values()]

    # Rights

    async def _check_rights(self) -> None:
        """Close the subscribers that may not read any more. Asks once for all that share a key and a channel."""
        version = await in_thread(directory.version)
        stale = [each for each in self._subscribers if each.access and each.access_as_of < version]
        if not stale:
            return
        directory.forget()
        lost = await in_thread(_lost, {subscriber.access for subscriber in stale if subscriber.access})
        for subscriber in stale:
            subscriber.access_as_of = version
            if subscriber.access in lost:
                subscriber.close(REVOKED)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The end

    async def drain(self, seconds: float) -> None:
        """End every subscriber, in random order, spread over the window, so that they do not all come back at once."""
        self.leaving = self.draining = True
        waiting = list(self._subscribers)
        random.shuffle(waiting)
        for subscriber in waiting:
            if subscriber in self._subscribers:  # it may have left by itself: then nobody waits for its turn
                subscriber.close(RESTARTING)
                await self._until_empty(seconds / len(waiting))
        # Closing takes each connection a moment; one that does not take its close frame is not waited for.
        await self._until_empty(CLOSING_SECONDS)

    async def _until_empty(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._emptied.wait(), seconds)

    async def close(self) -> None:
        """Forget everything and stop every task; the loop's next subscriber gets a new hub."""
        notifier.unregister(self)
        _hubs.pop(self.loop, None)
        tasks = [*self._tasks, *([self._ticking] if self._ticking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._inbox.close()


def _read_start(channel_id: int, room: str | None, after: Position | None) -> Page:
    head = log.head(channel_id, room)
    if after is None:
        return Page(head, [], is_last=True)
    return read_rest(head, channel_id, room, recovery.start(after, head), PAGE)


def _tell_close(subscriber: Subscriber, reason: CloseReason) -> None:
    front, access = subscriber.front, subscriber.access
    metrics.count_close(front, reason.code)
    told = {
        "code": reason.code,
        "reason": reason.reason,
        "dialect": front.dialect,
        "transport": front.name,
        "instance": access.channel.instance_name if access else "",
        "channel": access.channel.name if access else str(subscriber.channel_id),
        "room": subscriber.room or "",
        "last_id": subscriber.position,
        "key": access.credentials.prefix if access else "",
    }
    logger.info("Closed a live connection: %s", " ".join(f"{name}={value!r}" for name, value in told.items()), extra=told)


def _lost(accesses: set[Access]) -> set[Access]:
    return {access for access in accesses if not _may_read(access)}


def _may_read(access: Access) -> bool:
    try:
        instance, channel = directory.again(access.channel)
        authorize(directory.resolve(access.credentials, instance), Action.READ, channel)
    except PubSubError:
        return False
    return True


_hubs: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = weakref.WeakKeyDictionary()


def current() -> Hub:
    """The running event loop's hub, made at first need."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = Hub()
    return hub


async def drain(seconds: float) -> None:
    await current().drain(seconds)


def announce_leaving() -> None:
    """This process will drain in a moment: for those who decide where requests go."""
    current().leaving = True


def is_leaving() -> bool:
    return current().leaving
