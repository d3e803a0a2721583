"""What a dialect is to the rest of the server. Adding one: `dialects/README.md`."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from django.conf import settings
from django.urls import URLPattern
from django.utils.module_loading import import_string

from channels_app.core.directory import ChannelInfo, InstanceInfo
from channels_app.core.errors import PubSubError
from channels_app.core.principals import Principal
from channels_app.core.token_bucket import UNLIMITED, Limit
from channels_app.core.types import Draft, Receipt

Headers = list[tuple[bytes, bytes]]


class Response(NamedTuple):
    """A whole HTTP answer, free of any framework."""

    status: int
    headers: Headers
    body: bytes


class Publish(NamedTuple):
    """What a request to publish turned out to ask for. `limit`: of messages to the channel; `too_many`: what to say of it."""

    instance: InstanceInfo
    principal: Principal
    channel: ChannelInfo
    draft: Draft
    limit: Limit = UNLIMITED
    too_many: str = ""


class Claim(Protocol):
    """One request to publish, as far as it can be known without its body. Pure: `server.express` does what it asks for."""

    def parse(self, body: bytes) -> Publish:
        """Looks up what the request names, and checks its rights. Raises for whatever the view shall answer instead."""
        ...

    def accept(self, publish: Publish, receipt: Receipt) -> Response:
        """The answer once it is stored."""
        ...

    def refuse(self, error: PubSubError) -> Response:
        """The answer when a limit or the log refuses what `parse` has made of it."""
        ...


class ExpressRoute(Protocol):
    """A dialect's way to publish, answered in front of Django (`server.express`)."""

    def claim(self, scope: dict[str, Any]) -> Claim | None:
        """None: the request is no business of this route, and goes to Django untouched."""
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
