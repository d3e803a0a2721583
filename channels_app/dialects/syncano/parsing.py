"""What clients send, turned into what the core takes. Pure functions: every front of the dialect stands on them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from channels_app.core.directory import ChannelInfo
from channels_app.core.errors import Invalid
from channels_app.core.types import ALL_ROOMS
from channels_app.dialects import strict_json
from channels_app.dialects.strict_json import compact

from .errors import ParseError, RoomRequired

MAX_ROOM = 128  # characters
MAX_IDEMPOTENCY_KEY = 255  # characters
MAX_ID = 2**63 - 1
TRANSPORTS = ("", "poll", "sse", "websocket")


@dataclass(frozen=True, slots=True)
class PollRequest:
    """`room` is "" on a default channel. Without `last_id`, only what comes from now on is wanted."""

    room: str
    last_id: int | None


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """`room`: None for every message of the channel. Only messages with ids above `last_id` are wanted."""

    room: str | None
    last_id: int


# JSON


def parse_json(body: bytes) -> Any:
    """The value that the bytes hold. Raises ParseError for whatever could not be given back to readers as JSON in UTF-8."""
    try:
        return strict_json.parse(body)
    except ValueError as error:
        raise ParseError(str(error)) from None


def integer(text: str) -> int | None:
    """The whole number that the text spells, within the range of ids; None when it spells none."""
    if not re.fullmatch(r"[+-]?[0-9]+", text.strip()):
        return None
    number = int(text) if len(text) < 100 else (-MAX_ID if text.strip().startswith("-") else MAX_ID)
    return max(-MAX_ID, min(MAX_ID, number))


# Publish


def parse_publish(body: object, channel: ChannelInfo) -> tuple[str, str]:
    """The room and the payload (JSON text) of a publish (wire/syncano.md §8).

    Raises Invalid for all wrong fields at once, RoomRequired when only the room is missing.
    """
    if body is None:
        raise Invalid({"non_field_errors": ["No data provided"]})
    if not isinstance(body, dict):
        raise Invalid({"non_field_errors": [f"Invalid data. Expected a dictionary, but got {type(body).__name__}."]})
    wrong: dict[str, list[str]] = {}
    payload = _field("payload", _payload, body.get("payload", ""), wrong)
    room = _field("room", _room, body["room"], wrong) if "room" in body else ""
    if wrong:
        raise Invalid(wrong)
    return _lane(room, channel), payload


def parse_idempotency_key(headers: Mapping[str, str]) -> str:
    """The Idempotency-Key header, "" without one. Raises Invalid when it is too long."""
    key = headers.get("idempotency-key", "").strip()
    if len(key) > MAX_IDEMPOTENCY_KEY:
        raise Invalid({"Idempotency-Key": [f"Ensure this header has no more than {MAX_IDEMPOTENCY_KEY} characters."]})
    return key


def _field(name: str, read: Callable[[object], str], value: object, wrong: dict[str, list[str]]) -> str:
    try:
        return read(value)
    except ValueError as error:
        wrong[name] = [str(error)]
        return ""


def _payload(value: object) -> str:
    """Both SDKs send the object as a string of JSON. Raises ValueError with the wire's text."""
    if value is None:
        raise ValueError("This field may not be null.")
    if value == "":
        return "{}"
    if isinstance(value, str):
        try:
            value = parse_json(value.encode("utf-8"))
        except ParseError:
            raise ValueError("Not a valid JSON string.") from None
    if not isinstance(value, dict):
        raise ValueError("Payload passed in invalid format.")
    try:
        return compact(value)
    except ValueError:
        raise ValueError("Not a valid JSON string.") from None


def _room(value: object) -> str:
    """Rooms are stored, compared and echoed trimmed and in lower case (D10). Raises ValueError with the wire's text."""
    if value is None:
        raise ValueError("This field may not be null.")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("Not a valid string.")
    room = normal_room(str(value))
    if not room:
        raise ValueError("This field may not be blank.")
    if len(room) > MAX_ROOM:
        raise ValueError(f"Ensure this field has no more than {MAX_ROOM} characters.")
    if "\x00" in room:
        raise ValueError("Null characters are not allowed.")
    return room


def normal_room(text: str) -> str:
    return text.strip().lower()


def _lane(room: str, channel: ChannelInfo) -> str:
    """A default channel has one room, whatever the client says; elsewhere the client must say."""
    if not channel.separate_rooms:
        return ""
    if not room:
        raise RoomRequired
    return room


# Poll and history


def parse_poll(query: Mapping[str, str], channel: ChannelInfo) -> PollRequest:
    """Empty values count as absent (wire/syncano.md §10). A negative last_id waits, as none does. Raises as `parse_publish`."""
    wrong: dict[str, list[str]] = {}
    last_id = None
    if text := query.get("last_id", ""):
        last_id = integer(text)
        if last_id is None:
            wrong["last_id"] = ["A valid integer is required."]
        elif last_id < 0:
            last_id = None
    text = query.get("room", "")
    room = _field("room", _room, text, wrong) if text else ""
    transport = query.get("transport", "")
    if transport not in TRANSPORTS:  # served otherwise, its client would wait for what never comes
        wrong["transport"] = [f'"{transport}" is not a valid choice.']
    if wrong:
        raise Invalid(wrong)
    return PollRequest(_lane(room, channel), last_id)


def parse_history(query: Mapping[str, str], channel: ChannelInfo, *, may_read_all: bool) -> HistoryRequest:
    """A wrong last_id is ignored; a room that cannot exist is an empty one (wire/syncano.md §9). Raises RoomRequired (D5)."""
    last_id = max(0, integer(query.get("last_id", "")) or 0)
    if not channel.separate_rooms:
        return HistoryRequest(ALL_ROOMS, last_id)
    if "room" not in query:
        if not may_read_all:
            raise RoomRequired
        return HistoryRequest(ALL_ROOMS, last_id)
    room = normal_room(query["room"])
    return HistoryRequest(room if len(room) <= MAX_ROOM and "\x00" not in room else "", last_id)
