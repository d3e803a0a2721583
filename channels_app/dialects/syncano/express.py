"""Publishing on the express lane: the same functions as `views.messages`, without Django around them.

It takes a POST of JSON with a key in its headers or query, to a channel that may be published to, that stores well; and it
answers what only the log can say of it. Whatever is refused before that, Django refuses: there is one source of errors.
"""

import functools
import re
from typing import NamedTuple

from channels_app.core import directory
from channels_app.core.credentials import Credentials
from channels_app.core.errors import PubSubError
from channels_app.core.permissions import authorize_publish
from channels_app.core.types import Draft, Front, Receipt
from channels_app.dialects.base import Publish, Response
from channels_app.dialects.live import Scope, cors_headers, headers_of, json_headers, json_response, query_of

from .auth import credentials, header_credentials
from .encoding import receipt_json
from .errors import render
from .parsing import parse_idempotency_key, parse_json, parse_publish

PUBLISH = re.compile(r"/(v1|v1\.1)/instances/([A-Za-z0-9-]{1,64})/channels/([A-Za-z0-9_-]{1,64})/publish/")
LONGEST_PATH = 200  # none longer is a publish's, or remembered
JSON_TYPES = frozenset(
    f"{kind}{charset}" for kind in ("application/json", "text/plain") for charset in ("", ";charset=utf-8", "; charset=utf-8")
)

FRONT = Front("syncano", "express")


class Place(NamedTuple):
    """What a path names."""

    version: str
    instance: str
    channel: str


class PublishClaim(NamedTuple):
    """`dialects.base.Claim`."""

    headers: dict[str, str]
    asked: Credentials
    place: Place

    def parse(self, body: bytes) -> Publish:
        instance, principal, channel = directory.find(self.asked, self.place.instance, self.place.channel)
        authorize_publish(principal, channel)
        room, payload = parse_publish(parse_json(body), channel)
        key = parse_idempotency_key(self.headers)
        draft = Draft(payload=payload, author=principal.author_json, room=room, idempotency_key=key, front=FRONT)
        return Publish(instance, principal, channel, draft)

    def accept(self, publish: Publish, receipt: Receipt) -> Response:
        status = 200 if receipt.duplicate else 201
        body = receipt_json(receipt, publish.channel, self.place.version)
        return Response(status, json_headers("origin" in self.headers), body)

    def refuse(self, error: PubSubError) -> Response:
        status, content, extra = render(error)
        return json_response(status, content, {**cors_headers(self.headers), **extra})


class PublishRoute:
    """`dialects.base.ExpressRoute`."""

    def claim(self, scope: Scope) -> PublishClaim | None:
        path = scope["path"]
        place = _place(path) if len(path) <= LONGEST_PATH else None
        if place is None:
            return None
        headers = headers_of(scope)
        if headers.get("content-type", "").lower() not in JSON_TYPES or "content-encoding" in headers:
            return None
        asked = credentials(headers, query_of(scope)) if scope["query_string"] else header_credentials(headers)
        if not asked.api_key:
            return None  # it may be in the body
        return PublishClaim(headers, asked, place)


@functools.lru_cache(maxsize=10_000)
def _place(path: str) -> Place | None:
    match = PUBLISH.fullmatch(path)
    return Place(*match.groups()) if match else None


PUBLISH_ROUTE = PublishRoute()
