"""Stream messages (wire/twilio.md §4): they can be made, and nothing else."""

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from channels_app.core import directory
from channels_app.core.directory import ChannelInfo
from channels_app.core.types import Draft, Front

from .. import messages, streams
from ..parsing import parse_publish
from .base import ServiceScopedViewSet

FRONT = Front("twilio", "view")


class MessagesViewSet(ServiceScopedViewSet):
    channel: ChannelInfo

    def enter(self, request: Request) -> None:
        super().enter(request)
        self.channel = streams.find_channel(self.service, self.kwargs["stream"])

    def create(self, request: Request, *, stream: str, **_: Any) -> HttpResponse:
        payload = parse_publish(request.body, request.content_type)
        principal = directory.resolve(self.credentials, self.service)
        draft = Draft(payload=payload, author=principal.author_json, front=FRONT)
        content = messages.message_json(self.channel, messages.publish(principal, self.channel, stream, draft))
        return HttpResponse(content, content_type="application/json; charset=utf-8", status=201)
