"""Messages: publish and history (wire/syncano.md §8, §9). Live delivery is in `consumers`."""

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.core import log, publishing
from channels_app.core.directory import ChannelInfo
from channels_app.core.errors import NotFound
from channels_app.core.permissions import Action
from channels_app.core.types import Draft, Front, Message
from channels_app.dialects.strict_json import compact

from ..access import admit
from ..encoding import MESSAGE_FIELDS, message_json, receipt_json
from ..pagination import PageRequest, Read, chosen
from ..parsing import MAX_ID, HistoryRequest, integer, parse_history, parse_idempotency_key, parse_publish
from ..schema import ERRORS, PAGE_PARAMETERS
from ..serializers.channels import LiveMessage, MessagePage, PublishBody, PublishedMessage
from .base import SyncanoViewSet

ROOM = OpenApiParameter("room", str, description="A room of a separate_rooms channel; managers may leave it out: all rooms.")
LAST_ID = OpenApiParameter("last_id", int, description="Only messages with greater ids.")
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same publish sent again within a day gets the same answer.",
)

FRONT = Front("syncano", "view")


class MessageViewSet(SyncanoViewSet):
    """What all operations on a channel's messages share. Bodies are joined bytes, past DRF's renderer."""

    tag, thing, things = "messages", "a message", "messages"
    right = Action.READ
    is_poll = False  # polls are counted apart from other requests
    channel: ChannelInfo

    def enter(self, request: Request) -> None:
        names = self.kwargs["instance"], self.kwargs["channel"]
        _, request.auth, self.channel = admit(self.credentials(), *names, self.right, poll=self.is_poll)


class PublishViewSet(MessageViewSet):
    """Publishing to a channel."""

    right = Action.PUBLISH

    @extend_schema(
        summary="Publish a message",
        parameters=[IDEMPOTENCY_KEY],
        request=PublishBody,
        responses={201: PublishedMessage, 200: PublishedMessage},
    )
    def publish(self, request: Request, **_: str) -> HttpResponse:
        """Answers after the message is stored durably. 200 with `"duplicate": true`: the Idempotency-Key was seen before."""
        room, payload = parse_publish(request.data, self.channel)
        key = parse_idempotency_key(request.headers)
        draft = Draft(payload=payload, author=self.principal.author_json, room=room, idempotency_key=key, front=FRONT)
        receipt = publishing.publish(self.principal, self.channel, draft)
        return _json(receipt_json(receipt, self.channel, self.version), 200 if receipt.duplicate else 201)


class PollViewSet(MessageViewSet):
    """Live delivery. A GET is taken by `consumers` before it gets here, unless the server is no ASGI server."""

    is_poll = True

    @extend_schema(
        summary="Wait for the next message",
        parameters=[ROOM, LAST_ID, OpenApiParameter("transport", str, enum=["poll", "websocket", "sse"])],
        responses={200: LiveMessage, 204: None, 501: ERRORS[501]},
    )
    def poll(self, request: Request, **_: str) -> Response:
        """One message newer than `last_id`, or the next one; 204 when none comes. Or a WebSocket, or Server-Sent Events."""
        return Response({"detail": "Live delivery needs an ASGI server: start it with manage.py serve."}, status=501)


class HistoryViewSet(MessageViewSet):
    """The messages of a channel, for as long as they are kept."""

    def enter(self, request: Request) -> None:
        try:
            super().enter(request)
        except NotFound as error:
            if error.kind == "channel":
                raise NotFound("channel", "Channel was not found.") from None
            raise

    @extend_schema(
        summary="Page through the history", parameters=[ROOM, LAST_ID, *PAGE_PARAMETERS], responses={200: MessagePage}
    )
    def history(self, request: Request, **_: str) -> HttpResponse:
        """Newest first, unless `ordering` says otherwise."""
        query = request.query_params
        principal = self.principal
        may_read_all = principal.is_manager or principal.is_administrator
        wanted = parse_history(query.dict(), self.channel, may_read_all=may_read_all)
        page = PageRequest.of(query, descending=True)
        messages = page.read(_reader(self.channel, wanted))
        next_link, prev_link = page.links(request.path, [message.id for message in messages])
        fields = chosen(query, MESSAGE_FIELDS)
        objects = b",".join(message_json(message, self.channel, self.version, fields) for message in messages)
        return _json(f'{{"next":{compact(next_link)},"prev":{compact(prev_link)},"objects":['.encode() + objects + b"]}")

    @extend_schema(summary="Get a message", responses={200: PublishedMessage})
    def message(self, request: Request, **_: str) -> HttpResponse:
        message_id = integer(self.kwargs["message"])
        if message_id is None:
            raise NotFound("message")
        return _json(message_json(log.get(self.channel.id, message_id), self.channel, self.version))


def _reader(channel: ChannelInfo, wanted: HistoryRequest) -> Read:
    def read(descending: bool, last_pk: int | None, limit: int) -> list[Message]:
        if descending:
            before = MAX_ID if last_pk is None else last_pk
            return log.read_before(channel.id, wanted.room, before, limit, above=wanted.last_id)
        return log.read_after(channel.id, wanted.room, max(wanted.last_id, last_pk or 0), limit)

    return read


def _json(body: bytes, status: int = 200) -> HttpResponse:
    return HttpResponse(body, content_type="application/json; charset=utf-8", status=status)
