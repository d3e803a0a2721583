"""Tells readers that the log has grown: hubs of this process directly, other processes by hints through the channel layer.

The only module that touches the channel layer. A hint may be lost (law 5): nothing here may fail or delay a publish.
Hints of a channel go out one at a time; what is announced meanwhile is merged into the next.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Iterable
from typing import Any, Protocol

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from channels_redis.core import RedisChannelLayer
from redis.exceptions import RedisError

from . import metrics
from .types import Message, StreamAdvanced

logger = logging.getLogger(__name__)

PROCESS = uuid.uuid4().hex  # to know our own hints when they come back
MERGED_BYTES = 256 * 1024
TELL_SECONDS = 10.0  # between two lines about the same trouble


class RedisLayer(RedisChannelLayer):  # type: ignore[misc]  # untyped
    """The settings' channel layer: channels-redis, without a traceback for every hint that was on its way as Redis went."""

    async def _clean_receive_backup(self, index: int, channel: str) -> None:
        with contextlib.suppress(RedisError):  # it runs in a task that nobody asks for its result
            await super()._clean_receive_backup(index, channel)


class Receiver(Protocol):
    """A hub. Its methods may be called from any thread."""

    loop: asyncio.AbstractEventLoop

    def advanced(self, hint: StreamAdvanced) -> None: ...
    def deleted(self, channel_id: int) -> None: ...
    def rights_changed(self) -> None: ...


_receivers: list[Receiver] = []


def register(receiver: Receiver) -> None:
    _receivers.append(receiver)


def unregister(receiver: Receiver) -> None:
    if receiver in _receivers:
        _receivers.remove(receiver)


def has_other_processes() -> bool:
    """The in-memory layer reaches only this process, whose hubs are told directly."""
    layer = get_channel_layer()
    return layer is not None and not isinstance(layer, InMemoryChannelLayer)


# Telling


def announce(hints: Iterable[StreamAdvanced]) -> None:
    """Called after a commit, in whatever thread committed."""
    for hint in hints:
        for receiver in _living():
            receiver.advanced(hint)
        _tell_others(hint)


def announce_deleted(channel_id: int) -> None:
    for receiver in _living():
        receiver.deleted(channel_id)
    _broadcast(_group(channel_id), {"type": "pubsub.deleted", "channel_id": channel_id})


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


_outgoing: dict[int, StreamAdvanced] = {}  # by channel: what goes out once the hint on its way has arrived
_sending: set[int] = set()


def _tell_others(hint: StreamAdvanced) -> None:
    if not has_other_processes():
        return
    loop = _server_loop()
    if loop is None:
        _broadcast(_group(hint.channel_id), _encode(hint))
    else:
        loop.call_soon_threadsafe(_enqueue, hint)


def _enqueue(hint: StreamAdvanced) -> None:
    waiting = _outgoing.get(hint.channel_id)
    _outgoing[hint.channel_id] = _merge(waiting, hint) if waiting else hint
    if hint.channel_id not in _sending:
        _sending.add(hint.channel_id)
        _keep(asyncio.get_running_loop().create_task(_send_channel(hint.channel_id)))


def _merge(first: StreamAdvanced, second: StreamAdvanced) -> StreamAdvanced:
    heads = {**first.heads, **second.heads}
    messages = first.messages + second.messages
    complete = bool(first.messages and second.messages) and sum(message.size for message in messages) <= MERGED_BYTES
    return StreamAdvanced(first.channel_id, second.epoch, heads, messages if complete else ())


async def _send_channel(channel_id: int) -> None:
    try:
        while hint := _outgoing.pop(channel_id, None):
            await _send(_group(channel_id), _encode(hint))
    finally:
        _sending.discard(channel_id)


def _broadcast(group: str, event: dict[str, Any]) -> None:
    if not has_other_processes():
        return
    loop = _server_loop()
    if loop is None:
        async_to_sync(_send)(group, event)  # a management command: no event loop of ours runs
    else:
        loop.call_soon_threadsafe(lambda: _keep(loop.create_task(_send(group, event))))


def _server_loop() -> asyncio.AbstractEventLoop | None:
    return next((receiver.loop for receiver in _receivers if receiver.loop.is_running()), None)


_tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references


def _keep(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _send(group: str, event: dict[str, Any]) -> None:
    try:
        await get_channel_layer().group_send(group, event)
        metrics.HINTS_SENT.inc()
    except Exception as error:  # noqa: BLE001  (whatever a broken Redis raises: the hint is lost, the safety poll makes up for it)
        metrics.HINTS_FAILED.inc()
        _tell("A hint to other processes was lost", error)


_silent_until: dict[str, float] = {}


def _tell(trouble: str, error: Exception) -> None:
    """Log it, but not each time: Redis may be away for long, at thousands of hints a second."""
    now = time.monotonic()
    if now >= _silent_until.get(trouble, 0.0):
        _silent_until[trouble] = now + TELL_SECONDS
        logger.warning("%s: %s: %s", trouble, type(error).__name__, error)


async def check() -> None:
    """Raise whatever the channel layer raises when it is away; it may also take long."""
    if has_other_processes():
        await get_channel_layer().group_send(_group(0), {"type": "pubsub.check"})  # a group that nobody is in


# Hearing


class Inbox:
    """This process's one mailbox in the channel layer; joins a group for each channel it watches."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._name = ""
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def watch(self, channel_id: int) -> None:
        """Hear of that channel. A failure is logged only: the safety poll reads what is not heard."""
        if not has_other_processes():
            return
        try:
            async with self._lock:
                if self._task is None:
                    self._name = await get_channel_layer().new_channel("pubsub")
                    self._task = asyncio.get_running_loop().create_task(self._receive())
            await get_channel_layer().group_add(_group(channel_id), self._name)
        except Exception as error:  # noqa: BLE001  (as in _send)
            _tell("Hints for some channels will not arrive", error)

    async def unwatch(self, channel_id: int) -> None:
        if not self._name:
            return
        try:
            await get_channel_layer().group_discard(_group(channel_id), self._name)
        except Exception as error:  # noqa: BLE001  (as in _send; a hint too many is ignored)
            _tell("Still listed for some channels", error)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task, self._name = None, ""

    async def _receive(self) -> None:
        while True:
            try:
                event = await get_channel_layer().receive(self._name)
            except Exception as error:  # noqa: BLE001  (as in _send: Redis is away; look again in a moment)
                _tell("No hints for the moment", error)
                await asyncio.sleep(1)
                continue
            if event.get("process") == PROCESS:
                continue
            metrics.HINTS_RECEIVED.inc()
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
        "process": PROCESS,
        "channel_id": hint.channel_id,
        "epoch": hint.epoch,
        "heads": dict(hint.heads),
        "messages": messages,
    }


def _decode(event: dict[str, Any]) -> StreamAdvanced:
    channel_id = event["channel_id"]
    messages = tuple(Message(channel_id, *fields) for fields in event["messages"])
    return StreamAdvanced(channel_id, event["epoch"], event["heads"], messages)
