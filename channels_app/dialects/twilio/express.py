"""Publishing on the express lane: the same functions as `views.messages`, without Django around them.

It takes a form to a stream that is there, from the account that owns it, with data that a stream takes; and it answers what
only the limit and the log can say of it. Whatever is refused before that, Django refuses: there is one source of errors.
"""

import functools
import re

from channels_app.core import directory, throttling
from channels_app.core.database import in_thread
from channels_app.core.errors import PubSubError, StoreUnavailable
from channels_app.core.types import Draft, Front
from channels_app.dialects.base import Claim, Response
from channels_app.dialects.live import Scope, cors_headers, headers_of, json_headers, json_response

from . import messages, sids
from .errors import render
from .parsing import parse_publish

PUBLISH = re.compile(r"/v1/Services/([^/]+)/Streams/([^/]+)/Messages")

FRONT = Front("twilio", "express")


class PublishRoute:
    """`dialects.base.ExpressRoute`."""

    def claim(self, scope: Scope) -> Claim | None:
        match = PUBLISH.fullmatch(scope["path"])
        headers = headers_of(scope) if match else {}
        if match is None or "content-encoding" in headers:
            return None
        service_ref, stream_ref = match.groups()
        return functools.partial(_publish, scope["path"], headers, service_ref, stream_ref)


async def _publish(path: str, headers: dict[str, str], service_ref: str, stream_ref: str, body: bytes) -> Response | None:
    try:
        authorization = headers.get("authorization", "")
        admit = functools.partial(messages.admit, authorization, service_ref, stream_ref)
        service, principal, channel = await directory.asked(admit)
        payload = parse_publish(body, headers.get("content-type", ""))
    except StoreUnavailable as error:
        return _refusal(error, path, headers)  # Django would only wait for the database as long again
    except Exception:  # noqa: BLE001  (Django meets it again, and answers it)
        return None
    try:
        if service.request_rate is not None:
            await in_thread(throttling.check_instance, service)
        draft = Draft(payload=payload, author=principal.author_json, front=FRONT)
        message = await messages.apublish(principal, channel, stream_ref, draft)
    except PubSubError as error:
        return _refusal(error, path, headers)
    sent = [*json_headers("origin" in headers), (b"twilio-request-id", sids.request_sid().encode())]
    return Response(201, sent, messages.message_json(channel, message))


def _refusal(error: PubSubError, path: str, headers: dict[str, str]) -> Response:
    status, content, extra = render(error, path)
    return json_response(status, content, {"Twilio-Request-Id": sids.request_sid(), **cors_headers(headers), **extra})


PUBLISH_ROUTE = PublishRoute()
