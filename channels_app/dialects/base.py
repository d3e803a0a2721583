"""What a dialect is to the rest of the server. Adding one: `dialects/README.md`."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from django.conf import settings
from django.urls import URLPattern
from django.utils.module_loading import import_string

Headers = list[tuple[bytes, bytes]]


class Response(NamedTuple):
    """A whole HTTP answer, free of any framework."""

    status: int
    headers: Headers
    body: bytes


Claim = Callable[[bytes], Awaitable[Response | None]]


class ExpressRoute(Protocol):
    """A hot operation that is answered in front of Django (`server.express`)."""

    def claim(self, scope: dict[str, Any]) -> Claim | None:
        """None: the request is no business of this route. Otherwise a function from the request's body to the answer.

        That function answers None for what it does not fully understand: Django gets the request as if nobody had looked.
        """
        ...


@dataclass(frozen=True)
class Dialect:
    """One outside protocol: where it lives, and how its parts are found.

    `prefixes`: the path prefixes that are its own. `urlconf`: the module of its Django routes. `routing`: the dotted path
    of a function returning its ASGI routes (live delivery), tried before Django. `max_body`: bytes a request body may
    have. `too_large`: the answer to a longer one, given before it is read. `express`: the dotted path of its ExpressRoute.
    """

    name: str
    prefixes: tuple[str, ...]
    urlconf: str
    routing: str
    max_body: Callable[[], int]
    too_large: Callable[[dict[str, Any], int], Response]
    express: str = ""

    def routes(self) -> Sequence[URLPattern]:
        """ASGI routes in the form of Django URL patterns whose callbacks are ASGI applications."""
        return import_string(self.routing)()


@functools.cache
def dialects() -> tuple[Dialect, ...]:
    return tuple(import_string(path) for path in settings.PUBSUB_DIALECTS)


def dialect_of_path(path: str) -> Dialect | None:
    for dialect in dialects():  # a loop: this runs several times in every request
        if path.startswith(dialect.prefixes):
            return dialect
    return None
