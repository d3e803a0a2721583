"""Publishing on the express lane: the same functions as `views.messages`, without Django around them.

It takes a form to a stream that is there, from the account that owns it, with data that a stream takes; and it answers what
only the limit and the log can say of it. Whatever is refused before that, Django refuses: there is one source of errors.
"""

import re
from typing import NamedTuple

from channels_app.core.credentials import Credentials
from channels_app.core.errors import InvalidKey, PubSubError
from channels_app.core.permissions import authorize_publish
from channels_app.core.types import Draft, Front, Receipt
from channels_app.dialects.base import Publish, Response
from channels_app.dialects.live import Scope, cors_headers, headers_of, json_headers, json_response

from . import auth, messages, sids
from .errors import render
from .parsing import parse_publish

PUBLISH = re.compile(r"/v1/Services/([^/]+)/Streams/([^/]+)/Messages")

FRONT = Front("twilio", "express")


class PublishClaim(NamedTuple):
    """`dialects.base.Claim`."""

    path: str
    headers: dict[str, str]
    asked: Credentials
    service_ref: str
    stream_ref: str

    def parse(self, body: bytes) -> Publish:
        service, principal, channel = messages.admit(self.asked, self.service_ref, self.stream_ref)
        payload = parse_publish(body, self.headers.get("content-type", ""))
        authorize_publish(principal, channel)
        draft = Draft(payload=payload, author=principal.author_json, front=FRONT)
        return Publish(service, principal, channel, draft, messages.limit(), messages.too_many(self.stream_ref))

    def accept(self, publish: Publish, receipt: Receipt) -> Response:
        sent = [*json_headers("origin" in self.headers), (b"twilio-request-id", sids.request_sid().encode())]
        return Response(201, sent, messages.message_json(publish.channel, receipt.message))

    def refuse(self, error: PubSubError) -> Response:
        status, content, extra = render(error, self.path)
        headers = {"Twilio-Request-Id": sids.request_sid(), **cors_headers(self.headers), **extra}
        return json_response(status, content, headers)


class PublishRoute:
    """`dialects.base.ExpressRoute`."""

    def claim(self, scope: Scope) -> PublishClaim | None:
        match = PUBLISH.fullmatch(scope["path"])
        headers = headers_of(scope) if match else {}
        if match is None or "content-encoding" in headers:
            return None
        try:
            asked = auth.credentials(headers.get("authorization", ""))
        except InvalidKey:
            return None
        return PublishClaim(scope["path"], headers, asked, *match.groups())


PUBLISH_ROUTE = PublishRoute()
