"""Tells readers that the log has grown: hubs of this process directly, other processes by hints through the channel layer.

The only module that uses the channel layer. A hint may be lost (law 5): nothing here may fail or delay a publish.
What is announced while hints are on their way is merged, and goes out together when they have arrived: under load a
process has one command on its way to Redis, whatever it publishes.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from . import metrics
from .redis_layer import RedisLayer
from .types import Message, StreamAdvanced

logger = logging.getLogger(__name__)

PROCESS = f"pubsub.{uuid.uuid4().hex}"  # the name of our inbox, which our own hints leave out
MERGED_BYTES = 1024 * 1024  # of messages in all hints that go out together; readers find what is past it in the log
PAUSE = 0.01  # seconds between two questions whether another process listens, while none does
HAND_ON_SECONDS = 0.02  # that a commit waits at most for the deliveries of the one before
ANSWER_SECONDS = 2.0  # that Redis may take; the safety poll finds what hints would have told
TELL_SECONDS = 10.0  # between two lines about the same trouble


class Receiver(Protocol):
    """A hub. Its methods may be called from any thread."""

    loop: asyncio.AbstractEventLoop

    def advanced(self, hint: StreamAdvanced) -> None: ...
    def deleted(self, channel_id: int) -> None: ...
    def rights_changed(self) -> None: ...
    def wait_until_handed_on(self, seconds: float) -> None: ...


_receivers: dict[Receiver, "Outbox"] = {}


def register(receiver: Receiver) -> None:
    _receivers[receiver] = Outbox()


def unregister(receiver: Receiver) -> None:
    _receivers.pop(receiver, None)


def _layer() -> RedisLayer | None:
    """None: there are no other processes (the in-memory layer), so all hubs are told directly."""
    layer = get_channel_layer()
    return layer if isinstance(layer, RedisLayer) else None


# Telling


def announce(hints: Iterable[StreamAdvanced]) -> None:
    """Called after a commit, in whatever thread committed.

    Others first: this process's own subscribers may be thousands, and while they are written to, nothing else is sent.
    """
    _tell_others(hints)
    for receiver in _living():
        for hint in hints:
            receiver.advanced(hint)


def wait_until_handed_on() -> None:
    """Wait, not for long, until the subscribers of this process were written what was announced.

    For whoever commits: an event loop that writes to a thousand connections takes nothing else in, and its answers wait as
    well. A transaction beside it would have few messages, and both would run slower; after it, it has those of all who were
    answered meanwhile.
    """
    for receiver in _living():
        receiver.wait_until_handed_on(HAND_ON_SECONDS)


def announce_deleted(channel_id: int) -> None:
    for receiver in _living():
        receiver.deleted(channel_id)
    layer = _layer()
    if layer is None:
        return
    event = {_group(channel_id): {"type": "pubsub.deleted", "channel_id": channel_id}}
    server = _server()
    if server is None:
        async_to_sync(_send)(layer, event)
    else:
        server.loop.call_soon_threadsafe(lambda: _keep(server.loop.create_task(_send(layer, event))))


def announce_rights_changed() -> None:
    """Other processes find out by `directory.version()`, within a second."""
    for receiver in _living():
        receiver.rights_changed()


def _living() -> list[Receiver]:
    """The hubs whose event loop has not ended."""
    for receiver in list(_receivers):
        if receiver.loop.is_closed():
            unregister(receiver)
    return list(_receivers)


def _tell_others(hints: Iterable[StreamAdvanced]) -> None:
    layer = _layer()
    if layer is None:
        return
    server = _server()
    if server is None:  # a management command: no event loop of ours runs
        async_to_sync(_send)(layer, {_group(hint.channel_id): _encode(hint) for hint in hints})
    else:
        server.loop.call_soon_threadsafe(_receivers[server].put, layer, hints)


class Outbox:
    """What waits to be told to other processes. Belongs to its receiver's event loop."""

    def __init__(self) -> None:
        self._waiting: dict[int, StreamAdvanced] = {}  # by channel
        self._bytes = 0  # of their messages
        self._listened: set[int] = set()  # the channels that somebody else listened to when we last told of them
        self._wanted = asyncio.Event()  # somebody listens to something of what waits
        self._sending = False

    def put(self, layer: RedisLayer, hints: Iterable[StreamAdvanced]) -> None:
        for hint in hints:
            size = sum([message.size for message in hint.messages])
            listened = hint.channel_id in self._listened
            if listened:
                self._wanted.set()
            if not listened or self._bytes + size > MERGED_BYTES:
                # Without messages: it asks whether anybody listens, or has them read the log.
                hint = StreamAdvanced(hint.channel_id, hint.epoch, hint.heads)
            else:
                self._bytes += size
            before = self._waiting.get(hint.channel_id)
            self._waiting[hint.channel_id] = _merge(before, hint) if before else hint
        if not self._sending:
            self._sending = True
            _keep(asyncio.get_running_loop().create_task(self._send_all(layer)))

    async def _send_all(self, layer: RedisLayer) -> None:
        try:
            while self._waiting:
                hints, self._waiting, self._bytes = self._waiting, {}, 0
                self._wanted.clear()
                groups = await _send(layer, {_group(channel_id): _encode(hint) for channel_id, hint in hints.items()})
                listened = {channel_id for channel_id in hints if _group(channel_id) in groups}
                self._listened = self._listened - hints.keys() | listened
                if not listened:
                    pause = asyncio.get_running_loop().call_later(PAUSE, self._wanted.set)
                    await self._wanted.wait()
                    pause.cancel()
        finally:
            self._sending = False


def _merge(first: StreamAdvanced, second: StreamAdvanced) -> StreamAdvanced:
    if first.epoch != second.epoch:
        return second
    messages = first.messages + second.messages if first.messages and second.messages else ()
    return StreamAdvanced(first.channel_id, second.epoch, {**first.heads, **second.heads}, messages)


def _server() -> Receiver | None:
    return next((receiver for receiver in list(_receivers) if receiver.loop.is_running()), None)


_tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references


def _keep(task: asyncio.Task[Any]) -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _send(layer: RedisLayer, events: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Tell each group; returns those that somebody else is in."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):  # a connection may hang for hours: what comes later goes by another one
            listened = await layer.send_to_groups(events, sender=PROCESS)
    except Exception as error:  # noqa: BLE001  (whatever a broken Redis raises: the hint is lost, the safety poll makes up for it)
        metrics.HINTS_FAILED.inc(len(events))
        _tell("A hint to other processes was lost", error)
        return set()
    metrics.HINTS_SENT.inc(len(listened))
    return listened


_silent_until: dict[str, float] = {}


def _tell(trouble: str, error: Exception) -> None:
    """Log it, but not each time: Redis may be away for long, at thousands of hints a second."""
    now = time.monotonic()
    if now >= _silent_until.get(trouble, 0.0):
        _silent_until[trouble] = now + TELL_SECONDS
        logger.warning("%s: %s: %s", trouble, type(error).__name__, error)


async def check() -> None:
    """Raise whatever the channel layer raises when it is away, and TimeoutError when it says nothing."""
    if layer := _layer():
        async with asyncio.timeout(ANSWER_SECONDS):
            await layer.send_to_groups({_group(0): {"type": "pubsub.check"}}, sender=PROCESS)  # a group that nobody is in


# Hearing


class Inbox:
    """This process's one mailbox in the channel layer; joins a group for each channel it watches."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._tasks: list[asyncio.Task[None]] = []
        self._joining: dict[int, asyncio.Task[None]] = {}  # by channel; done: it is in the group

    async def watch(self, channel_id: int, *, again: bool = False) -> None:
        """Hear of that channel. A failure is logged only: the safety poll reads what is not heard.

        All readers of a channel wait for one joining of its group. `again`: once that is over, join it again, since Redis may
        have forgotten us.
        """
        layer = _layer()
        if layer is None:
            return
        loop = asyncio.get_running_loop()
        if not self._tasks:
            self._tasks = [loop.create_task(self._receive(layer, index)) for index in range(layer.ring_size)]
        joining = self._joining.get(channel_id)
        if joining is None or (again and joining.done()):
            joining = self._joining[channel_id] = loop.create_task(self._join(layer, channel_id))
        await asyncio.shield(joining)  # who joins first may leave before the others

    async def _join(self, layer: RedisLayer, channel_id: int) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await layer.group_add(_group(channel_id), PROCESS)
        except Exception as error:  # noqa: BLE001  (as in _send)
            self._joining.pop(channel_id, None)
            _tell("Hints for some channels will not arrive", error)

    async def unwatch(self, channel_id: int) -> None:
        layer = _layer()
        if layer is None:
            return
        self._joining.pop(channel_id, None)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await layer.group_discard(_group(channel_id), PROCESS)
        except Exception as error:  # noqa: BLE001  (as in _send; a hint too many is ignored)
            _tell("Still listed for some channels", error)

    async def close(self) -> None:
        tasks = [*self._tasks, *self._joining.values()]
        self._tasks, self._joining = [], {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self, layer: RedisLayer, index: int) -> None:
        while True:
            try:
                for event in await layer.receive_many(PROCESS, index):
                    metrics.HINTS_RECEIVED.inc()
                    self._hear(event)
            except Exception as error:  # noqa: BLE001  (as in _send, and what another version of this server says)
                _tell("No hints for the moment", error)
                await asyncio.sleep(1)

    def _hear(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "pubsub.deleted":
            self._receiver.deleted(event["channel_id"])
        else:
            self._receiver.advanced(_decode(event))


def _group(channel_id: int) -> str:
    return f"pubsub.{channel_id}"


def _encode(hint: StreamAdvanced) -> dict[str, Any]:
    messages = [[m.id, m.previous_id, m.room, m.created_at, m.action, m.author, m.metadata, m.payload] for m in hint.messages]
    return {
        "type": "pubsub.advanced",
        "channel_id": hint.channel_id,
        "epoch": hint.epoch,
        "heads": dict(hint.heads),
        "messages": messages,
    }


def _decode(event: Mapping[str, Any]) -> StreamAdvanced:
    channel_id = event["channel_id"]
    messages = tuple(Message(channel_id, *fields) for fields in event["messages"])
    return StreamAdvanced(channel_id, event["epoch"], event["heads"], messages)
