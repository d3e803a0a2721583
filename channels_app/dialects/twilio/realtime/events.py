"""What a client is told of its own accord: the notifications of a stream, of its subscriptions, of its connection (wire §8)."""

import functools
import random
import uuid
from collections.abc import Mapping
from typing import Any

from channels_app.core.recovery import Event
from channels_app.core.types import Gap, Message
from channels_app.dialects import strict_json
from channels_app.dialects.live import binary_frame

from ..sids import message_sid, stream_sid
from . import frames

SYNC_EVENT = "twilio.sync.event"
RECONNECT_MS = 1_000  # how long a client that is sent elsewhere waits at least


class StreamFrames:
    """The frames of one stream's events. A frame's id names the message, not the connection: one serves all of them."""

    def __init__(self, stream: uuid.UUID) -> None:
        self._uuid, self._sid = stream, stream_sid(stream)

    def __call__(self, event: Event) -> bytes:
        """As WebSocket frames."""
        return binary_frame(self.frame(event))

    def frame(self, event: Event) -> bytes:
        return self._missed(event) if isinstance(event, Gap) else self._published(event)

    def _published(self, message: Message) -> bytes:
        encoded: bytes | None = message.encodings.get(StreamFrames)
        if encoded is None:
            sid = message_sid(self._uuid, message)
            encoded = message.encodings[StreamFrames] = frames.encode(
                notification(f"{self._sid}.{message.id}"),
                f'{{"event_type":"stream_message_published","event":{{"stream_sid":"{self._sid}",'
                f'"message_sid":"{sid}","message_data":{message.payload}}}}}'.encode(),
            )
        return encoded

    def _missed(self, gap: Gap) -> bytes:
        """Ours: Twilio's own SDK passes over it, as it has no word for messages that are gone."""
        missed = {"stream_sid": self._sid, "from": gap.from_id, "to": gap.to_id, "reason": str(gap.reason)}
        return event_frame("stream_messages_missed", missed)


@functools.lru_cache(maxsize=4096)
def frames_of(stream: uuid.UUID) -> StreamFrames:
    """The same one for all connections that ask: what it encodes they share."""
    return StreamFrames(stream)


def acknowledged(frame_id: str) -> tuple[str, int]:
    """The stream and the id of the message that a frame of this id told of; ("", 0): none."""
    sid, _, number = frame_id.partition(".")
    return (sid, int(number)) if number.isascii() and number.isdecimal() and len(number) < 19 else ("", 0)


def notification(frame_id: str = "") -> dict[str, Any]:
    return {"method": "notification", "id": frame_id or new_id(), "message_type": SYNC_EVENT}


def event_frame(event_type: str, event: Mapping[str, Any], correlation_id: object = None) -> bytes:
    payload = {"event_type": event_type, "correlation_id": correlation_id, "event": event}
    return frames.encode(notification(), strict_json.compact(payload).encode())


def subscribed(sid: str, kind: str, correlation_id: object) -> bytes:
    event = {"object_sid": sid, "object_type": kind, "replay_status": "completed", "last_event_id": None}
    return event_frame("subscription_established", event, correlation_id)


def canceled(sid: str, kind: str, correlation_id: object) -> bytes:
    return event_frame("subscription_canceled", {"object_sid": sid, "object_type": kind}, correlation_id)


def failed(sid: str, kind: str, correlation_id: object, status: int, refusal: Mapping[str, Any]) -> bytes:
    """`refusal` is the body of the answer that REST would have given."""
    error = {"status": status, "code": refusal["code"], "message": refusal["message"]}
    return event_frame("subscription_failed", {"object_sid": sid, "object_type": kind, "error": error}, correlation_id)


def removed(sid: str) -> bytes:
    return event_frame("stream_removed", {"stream_sid": sid})


def token_about_to_expire() -> bytes:
    return frames.encode({"method": "client_update", "id": new_id(), "client_update_type": "token_about_to_expire"})


def close(code: int, status: str) -> bytes:
    """The connection ends. The SDK reconnects after 308, and stays away after 401, 406 and 410 until it gets a new token."""
    header = {"method": "close", "id": new_id(), "status": {"code": code, "status": status}}
    if code != 308:
        return frames.encode(header)
    wait = random.randint(RECONNECT_MS, 2 * RECONNECT_MS)  # noqa: S311  (so that they do not all come back at once)
    return frames.encode(header, strict_json.compact({"backoff_policy": {"reconnect_min_ms": wait}}).encode())


def new_id() -> str:
    return f"TM{uuid.uuid4()}"
