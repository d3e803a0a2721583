"""The history of a channel, read-only: pages by id, both ways, each a look into an index; nothing is ever counted."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from channels_app.core import log
from channels_app.core.errors import NotFound
from channels_app.core.types import ALL_ROOMS, Message
from channels_app.dialects.syncano.parsing import normal_room
from channels_app.models import Channel

from .scope import visible_to

PAGE = 50
COLUMNS = {  # by their class, which says what a narrow screen leaves out
    "id": "ID",
    "room": "Room",
    "payload": "Payload",
    "action": "Action",
    "author": "Author",
    "metadata": "Metadata",
    "created": "Created (UTC)",
}
SUGGESTIONS = 500  # channels offered while a name is typed; any other can be typed out
TOP = 2**63 - 1  # no id is above it
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def history_url(channel: Channel, **query: str | int) -> str:
    """The page of a channel's messages; `room`, `before` and `after` narrow it."""
    return f"{reverse('admin:channels_app_message')}?{urlencode({'channel': full_name(channel), **query})}"


def full_name(channel: Channel) -> str:
    return f"{channel.instance.name}/{channel.name}"


class HistoryForm(forms.Form):
    """What the page's URL may say. Another owner's channel is as unknown as one that does not exist."""

    channel = forms.CharField(max_length=129, widget=forms.TextInput(attrs={"list": "channels", "size": 30}))
    room = forms.CharField(max_length=128, required=False)
    before = forms.IntegerField(min_value=0, max_value=TOP, required=False, widget=forms.HiddenInput)
    after = forms.IntegerField(min_value=0, max_value=TOP, required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, channels: "QuerySet[Channel]") -> None:
        super().__init__(data)
        self._channels = channels

    def clean_channel(self) -> Channel:
        instance_name, _, name = self.cleaned_data["channel"].lower().partition("/")
        found = self._channels.filter(instance__name=instance_name, name=name).first()
        if found is None:
            raise forms.ValidationError("There is no such channel. Write it as instance/channel.")
        return found

    def clean_room(self) -> str:
        return normal_room(self.cleaned_data["room"])


@dataclass(frozen=True)
class Page:
    """Messages, newest first, and where the pages beside them begin; None where there are none."""

    messages: list[Message]
    before: int | None  # the older page: ids below this
    after: int | None  # the newer page: ids above this


def read_page(channel_id: int, room: str | None, before: int | None, after: int | None) -> Page:
    messages: list[Message] = []
    if after is not None:
        messages = log.read_after(channel_id, room, after, PAGE)[::-1]
    if len(messages) < PAGE:  # also near the top: the newest page is a full one
        messages = log.read_before(channel_id, room, before if before is not None and after is None else TOP, PAGE)
    if not messages:
        return Page([], None, None)
    newest, oldest = messages[0].id, messages[-1].id
    has_newer = bool(log.read_after(channel_id, room, newest, 1))
    has_older = bool(log.read_before(channel_id, room, oldest, 1))
    return Page(messages, oldest if has_older else None, newest if has_newer else None)


@require_safe
def message_list(request: HttpRequest) -> HttpResponse:
    """The page "Messages": a form to choose a channel and a room, and what is in it."""
    channels = visible_to(request.user, Channel.objects.select_related("instance"))
    form = HistoryForm(request.GET if "channel" in request.GET else None, channels)
    context = {
        **admin.site.each_context(request),
        "title": "Messages",
        "opts": Channel._meta,
        "form": form,
        "columns": COLUMNS,
        "suggestions": [full_name(each) for each in channels.order_by("instance__name", "name")[:SUGGESTIONS]],
        **(_history(form.cleaned_data) if form.is_valid() else {}),
    }
    return TemplateResponse(request, "admin/messages.html", context)


def _history(query: dict[str, Any]) -> dict[str, Any]:
    channel, room = query["channel"], query["room"]
    narrowed = {"room": room} if room else {}
    try:
        head = log.head(channel.pk, ALL_ROOMS)
    except NotFound:  # deleted since the form found it
        raise Http404 from None
    page = read_page(channel.pk, room or ALL_ROOMS, query["before"], query["after"])
    return {
        "channel": channel,
        "head": head,
        "rows": [row(message) for message in page.messages],
        "newest_url": history_url(channel, **narrowed) if page.after is not None else "",
        "newer_url": history_url(channel, **narrowed, after=page.after) if page.after is not None else "",
        "older_url": history_url(channel, **narrowed, before=page.before) if page.before is not None else "",
    }


def row(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "room": message.room,
        "action": message.action,
        "author": message.author,
        "metadata": message.metadata,
        "created_at": (EPOCH + timedelta(microseconds=message.created_at)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
        "payload": message.payload,
        "pretty": pretty(message.payload),
    }


def pretty(text: str) -> str:
    """The JSON indented; as it is where that would not say the same (a number too large), or cannot be done."""
    try:
        indented = json.dumps(json.loads(text), indent=2, ensure_ascii=False, allow_nan=False)
        indented.encode()  # an escaped half of a surrogate pair is only text while it is escaped
    except (ValueError, RecursionError):
        return text
    return indented
