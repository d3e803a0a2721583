"""The types of ASGI, as the server's parts use them, and what they ask of a scope."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = dict[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def announced_length(scope: Scope) -> int | None:
    """The bytes that the request's body will have, when it says so."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value.lstrip(b"0") or b"0") if value.isdigit() else None  # no int has thousands of zeros
    return None
