"""What a client asks inside its WebSocket: REST, tunnelled, with JSON in snake_case (wire/twilio.md §8).

The same functions answer it as answer the REST API; what differs is who asks: a token's identity, in its one service.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from django.db import DatabaseError

from channels_app.core import directory, throttling
from channels_app.core.database import in_thread
from channels_app.core.directory import ChannelInfo, InstanceInfo
from channels_app.core.errors import InvalidKey, NotFound, PubSubError, StoreUnavailable
from channels_app.core.subscriber import Access
from channels_app.core.types import Draft
from channels_app.dialects import strict_json
from channels_app.models import TwilioService

from .. import messages, sids, streams
from ..errors import FORBIDDEN, MISSING_PARAMETER, NO_METHOD, NOT_FOUND, TwilioError, render
from ..parsing import message_data
from ..streams import Stream
from . import events
from .client import Client
from .frames import Frame
from .sessions import Session
from .subscriptions import FRONT, KIND, Subscription, Subscriptions

NOT_SERVED = re.compile(r"/v3/(Documents|Lists|Maps|Insights)(/.*)?", re.DOTALL)
MAX_BATCH = 100
ESTIMATED_DELIVERY_MS = 10_000  # a client whose subscription is not confirmed by then asks again


@dataclass
class Caller:
    """A connection that has said who it is. `client` changes with its token; `send` writes a frame."""

    client: Client
    session: Session
    subscriptions: Subscriptions
    send: Callable[[bytes], Awaitable[None]]

    def renew(self, client: Client) -> None:
        self.client = client
        self.subscriptions.renew(client.credentials, client.as_of)


@dataclass(frozen=True, slots=True)
class Request:
    """`path` as it was sent, percent-encoded. `id` is the same when the SDK repeats a request."""

    method: str
    host: str
    path: str
    id: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""  # JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def header(self) -> dict[str, object]:
        """Of the frame that brings it."""
        return {"http_status": {"code": self.status, "status": HTTPStatus(self.status).phrase}, "http_headers": self.headers}


async def answer(caller: Caller, frame: Frame) -> Answer:
    """Raises InvalidKey: who asks may ask no more."""
    path = ""
    try:
        request = _read(frame)
        path = request.path
        return await _route(caller, request)
    except InvalidKey:
        raise
    except DatabaseError:
        return _refusal(StoreUnavailable())
    except PubSubError as error:
        return _refusal(error, path)


def _refusal(error: PubSubError, path: str = "") -> Answer:
    status, body, headers = render(error, path.removeprefix("/v3"))
    return Answer(status, _json(body), headers)


def _json(body: Mapping[str, Any]) -> bytes:
    return strict_json.compact(body).encode()


def _read(frame: Frame) -> Request:
    asked = frame.header.get("http_request")
    asked = asked if isinstance(asked, dict) else {}
    method, host, path = (asked.get(name) for name in ("method", "host", "path"))
    if not (isinstance(method, str) and isinstance(host, str) and isinstance(path, str)):
        raise _missing("http_request")
    headers = asked.get("headers")
    request_id = headers.get("Twilio-Request-Id") if isinstance(headers, dict) else ""
    body = _body(frame.payload) if method == "POST" else {}  # with a DELETE the SDK sends a word of its own
    return Request(method, host, path, request_id if isinstance(request_id, str) else "", body)


def _body(payload: bytes) -> Mapping[str, Any]:
    try:
        body = strict_json.parse(payload) if payload else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise TwilioError(400, 54008, "Invalid request body: not a JSON object")
    return body


def _missing(name: str) -> TwilioError:
    return TwilioError(400, MISSING_PARAMETER, f"Missing required parameter {name}")


def _not_served(what: str) -> TwilioError:
    return TwilioError(404, NOT_FOUND, f"Sync {what} are not served here: only Streams are")


async def _route(caller: Caller, request: Request) -> Answer:
    await directory.asked(caller.client.principal)
    await _count(caller.client.service)
    if missing := NOT_SERVED.fullmatch(request.path):
        raise _not_served(missing[1])
    for path, methods in ROUTES.items():
        if found := path.fullmatch(request.path):
            if request.method not in methods:
                raise TwilioError(405, NO_METHOD, "Method not supported on this resource")
            return await methods[request.method](caller, request, *map(unquote, found.groups()))
    raise NotFound("route")


async def _count(admitted: InstanceInfo) -> None:
    """One request to the service, as over REST. Raises Throttled."""
    service = await directory.asked(partial(directory.instance_of_uuid, admitted.uuid))  # its limit as it is now
    if service.request_rate is not None:
        await in_thread(throttling.check_instance, service)


# Streams


async def _create(caller: Caller, request: Request) -> Answer:
    await in_thread(_manage, caller)
    name, ttl = request.body.get("unique_name"), request.body.get("ttl")
    stream = await in_thread(streams.create, caller.client.service, name, ttl, caller.client.identity)
    return _described(request, stream, 201)


async def _fetch(caller: Caller, request: Request, ref: str) -> Answer:
    return _described(request, await in_thread(streams.find, caller.client.service, ref))


async def _update(caller: Caller, request: Request, ref: str) -> Answer:
    await in_thread(_manage, caller)
    service = caller.client.service
    stream = await in_thread(streams.find, service, ref)
    if "ttl" not in request.body:
        raise TwilioError(400, 54010, "Nothing to update")
    return _described(request, await in_thread(streams.update, service, stream, request.body["ttl"]))


async def _delete(caller: Caller, request: Request, ref: str) -> Answer:
    await in_thread(_manage, caller)
    stream = await in_thread(streams.find, caller.client.service, ref)
    with caller.subscriptions.leave_out_removal(stream.sid):  # as with its messages: the SDK raises an event of its own
        await in_thread(streams.delete, stream)
    return Answer(204)


def _described(request: Request, stream: Stream, status: int = 200) -> Answer:
    return Answer(status, _json(streams.as_json(stream, f"https://{request.host}/v3/Streams")))


def _manage(caller: Caller) -> None:
    """Raises TwilioError where a token's identity may not make, change or remove streams."""
    if TwilioService.objects.filter(instance_id=caller.client.service.id, acl_enabled=True).exists():
        raise TwilioError(403, FORBIDDEN, "With the service's ACL enabled, its streams are made, changed and removed over REST")


async def _publish(caller: Caller, request: Request, ref: str) -> Answer:
    channel = await _find_channel(caller, ref)
    data = message_data(request.body.get("data"))
    sid = sids.stream_sid(channel.uuid)
    caller.subscriptions.leave_out_own(sid)
    key = f"{caller.session.endpoint}/{request.id}" if request.id else ""
    draft = Draft(data, caller.session.author, idempotency_key=key, front=FRONT)
    message = await messages.apublish(await directory.asked(caller.client.principal), channel, ref, draft)
    caller.subscriptions.pass_over_own(sid, message.id)
    return Answer(201, messages.message_json(channel, message))


async def _find_channel(caller: Caller, ref: str) -> ChannelInfo:
    """Of the stream of that SID or unique name. Raises NotFound."""
    return await directory.asked(partial(streams.find_channel, caller.client.service, ref))


# Subscriptions


async def _subscribe(caller: Caller, request: Request) -> Answer:
    """What is asked for is confirmed, or refused, by a notification for each object."""
    wanted, correlation_id = request.body.get("requests"), request.body.get("correlation_id")
    act = SUBSCRIPTION_ACTIONS.get(str(request.body.get("action")))
    if act is None:
        raise _missing("action")
    if not isinstance(wanted, list) or len(wanted) > MAX_BATCH or not all(map(_is_wanted, wanted)):
        raise _missing("requests")
    if not isinstance(correlation_id, str | int | None):
        raise _missing("correlation_id")
    for each in wanted:
        await act(caller, each["object_sid"], each["object_type"], correlation_id)
    return Answer(200, _json({"estimated_delivery_in_ms": ESTIMATED_DELIVERY_MS, "max_batch_size": MAX_BATCH}))


def _is_wanted(each: object) -> bool:
    return isinstance(each, dict) and isinstance(each.get("object_sid"), str) and isinstance(each.get("object_type"), str)


async def _establish(caller: Caller, sid: str, kind: str, correlation_id: object) -> None:
    try:
        if kind != KIND:
            raise _not_served(f"objects of the type {kind}")
        channel = await _find_channel(caller, sid)
        wanted = sids.stream_sid(channel.uuid)
        if wanted not in caller.subscriptions and caller.subscriptions.is_full:
            raise TwilioError(403, 54419, "Too many subscriptions on one connection")
    except StoreUnavailable:
        raise  # the SDK repeats the request; from one that failed it would stay away
    except PubSubError as error:
        status, body, _ = render(error)
        await caller.send(events.failed(sid, kind, correlation_id, status, body))
        return
    access = Access(caller.client.credentials, channel, caller.client.as_of)
    await caller.subscriptions.establish(Subscription(wanted, access), correlation_id)


async def _cancel(caller: Caller, sid: str, kind: str, correlation_id: object) -> None:
    with contextlib.suppress(NotFound):  # its subscription has ended with it
        channel = await _find_channel(caller, sid)
        await caller.subscriptions.cancel(sids.stream_sid(channel.uuid))
    await caller.send(events.canceled(sid, kind, correlation_id))


SUBSCRIPTION_ACTIONS = {"establish": _establish, "cancel": _cancel}

Handler = Callable[..., Awaitable[Answer]]
ROUTES: Mapping[re.Pattern[str], Mapping[str, Handler]] = {
    re.compile(r"/v3/Streams"): {"POST": _create},
    re.compile(r"/v3/Streams/([^/]+)"): {"GET": _fetch, "POST": _update, "DELETE": _delete},
    re.compile(r"/v3/Streams/([^/]+)/Messages"): {"POST": _publish},
    re.compile(r"/v4/Subscriptions"): {"POST": _subscribe},
}
