"""JSON as the log keeps it: RFC 8259 in UTF-8, nothing that could not be given back to every reader."""

import json
from typing import Any

MAX_DIGITS = 4_300  # of a whole number: Python reads and writes no longer ones, unless it is told to


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"Number of more than {MAX_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:  # infinite
        raise ValueError(f"Out of range float: {text[:32]}")
    return number


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"Invalid value: {text}")


# Made once: json.loads and json.dumps would make one for each call.
_decoder = json.JSONDecoder(parse_int=_whole, parse_float=_finite, parse_constant=_refuse_constant)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def parse(text: bytes) -> Any:
    """The value that the bytes hold; of a name that an object repeats, the last. Raises ValueError, which says why not."""
    try:
        value = _decoder.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("Too deeply nested") from None
    if b"\\ud" in text or b"\\uD" in text:
        compact(value).encode("utf-8")  # half of a surrogate pair is no character
    return value


def compact(value: Any) -> str:
    """The shortest text of the value, with its characters as they are. Raises ValueError when it is too deep."""
    try:
        return _encode(value)
    except RecursionError:
        raise ValueError("Too deeply nested") from None
