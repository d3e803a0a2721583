"""Twilsock's frames (wire/twilio.md §8): `TWILSOCK V3.0 <n>\\r\\n<header: JSON of n bytes>\\r\\n<payload>`. Pure functions."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from channels_app.dialects import strict_json

MAX_FRAME = 64 * 1024  # bytes; an init with a long token, or 100 subscriptions, take a few thousand
MAX_ID = 128  # characters
JSON_TYPE = "application/json"

_MAGIC = re.compile(rb"TWILSOCK V3\.0 ([0-9]{1,5})\r\n")


class FrameError(ValueError):
    """The bytes are no frame of this protocol."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`header` has the method and the id beside what the method brings; `payload` is what it is, mostly JSON."""

    method: str
    id: str
    header: Mapping[str, Any]
    payload: bytes = b""


def decode(data: bytes) -> Frame:
    """The frame that the bytes are, whole. Raises FrameError."""
    if len(data) > MAX_FRAME:
        raise FrameError("The frame is too long")
    magic = _MAGIC.match(data)
    if magic is None:
        raise FrameError("Not a Twilsock V3.0 frame")
    end = magic.end() + int(magic[1])
    if end > len(data):
        raise FrameError("The header is shorter than announced")
    header = _header(data[magic.end() : end])
    return Frame(header["method"], header["id"], header, _payload(header, data[end:]))


def encode(header: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """A frame with this header, which gets the payload's size and type, and this payload (JSON)."""
    announced = {"payload_size": len(payload), "payload_type": JSON_TYPE} if payload else {"payload_size": 0}
    text = json.dumps({**header, **announced}, separators=(",", ":")).encode()
    return b"TWILSOCK V3.0 %d\r\n%b\r\n%b" % (len(text), text, payload)


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = strict_json.parse(text)
    except ValueError as error:
        raise FrameError(f"The header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise FrameError("The header is no object")
    if not isinstance(header.get("method"), str):
        raise FrameError("The header names no method")
    if not isinstance(header.get("id"), str) or not 0 < len(header["id"]) <= MAX_ID:
        raise FrameError("The header has no id")
    return header


def _payload(header: Mapping[str, Any], rest: bytes) -> bytes:
    size = header.get("payload_size", 0)
    if isinstance(size, bool) or not isinstance(size, int):
        raise FrameError("The payload's size is no number")
    if rest in (b"", b"\r\n") and not size:
        return b""
    if rest[:2] != b"\r\n" or len(rest) - 2 != size:
        raise FrameError("The payload is not as long as announced")
    return rest[2:]
