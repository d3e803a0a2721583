"""JSON as the log keeps it: RFC 8259 in UTF-8, nothing that could not be given back to every reader."""

import json
import sys
from typing import Any


class _NotKept(ValueError):
    """Python reads it, and others do not."""


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:  # infinite
        raise _NotKept(f"Out of range float: {text[:32]}")
    return number


def _refuse_constant(text: str) -> Any:
    raise _NotKept(f"Invalid value: {text}")


# Made once: json.loads and json.dumps would make one for each call.
_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def parse(text: bytes) -> Any:
    """The value that the bytes hold; of a name that an object repeats, the last. Raises ValueError, which says why not."""
    try:
        value = _decoder.decode(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("Too deeply nested") from None
    except (json.JSONDecodeError, UnicodeDecodeError, _NotKept):
        raise
    except ValueError:  # Python's own, which advises a program to read longer ones
        raise ValueError(f"Number of more than {sys.get_int_max_str_digits()} digits") from None
    if b"\\ud" in text or b"\\uD" in text:
        compact(value).encode("utf-8")  # half of a surrogate pair is no character
    return value


def compact(value: Any) -> str:
    """The shortest text of the value, with its characters as they are. Raises ValueError when it is too deep."""
    try:
        return _encode(value)
    except RecursionError:
        raise ValueError("Too deeply nested") from None
