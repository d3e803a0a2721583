"""Channels, each with a link to its history."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from channels_app.core import tenancy
from channels_app.dialects.twilio import sids, streams
from channels_app.models import Channel

from .fields import GroupField, LowerCaseField
from .messages import full_name, history_url
from .scope import ALL_MESSAGES, ScopedAdmin

BUILT_IN = "Built in: it belongs to the instance, and goes only with it."


class ChannelForm(forms.ModelForm):
    class Meta:
        model = Channel
        fields = "__all__"  # noqa: DJ007  (ChannelAdmin.fields says which)
        field_classes = {"name": LowerCaseField, "group": GroupField}
        help_texts = {
            "stream_sid": "This channel, for Twilio's SDKs.",
            "unique_name": "Its name there. It cannot be changed.",
        }

    def clean_expires_at(self) -> datetime | None:
        moment: datetime | None = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            instead = "To delete the channel now, use Delete." if self.instance.pk else "Enter one to come, or none."
            raise ValidationError(f"This time is over. {instead}")
        return moment

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        group, instance = values.get("group"), values.get("instance")
        if group and instance and group.instance_id != instance.pk:
            self.add_error("group", "This group belongs to another instance.")
        return values


@admin.register(Channel)
class ChannelAdmin(ScopedAdmin):
    form = ChannelForm
    fixed_fields = ("instance", "name", "type")
    sid_kind = sids.STREAM
    list_display = ("name", "history", "instance", "type", "custom_publish", "group_permissions", "other_permissions")
    list_filter = (("instance", admin.RelatedOnlyFieldListFilter), "type", "custom_publish")
    list_select_related = ("instance",)
    search_fields = ("name", "description", "instance__name", "twilio_stream__unique_name")
    autocomplete_fields = ("instance", "group")
    fields = (
        "instance", "name", "description", "type", "custom_publish", "group", "group_permissions", "other_permissions",
        "retention_age", "retention_count", "expires_at",
    )  # fmt: skip
    readonly_fields = ("stream_sid", "unique_name")

    @admin.display(description="history")
    def history(self, obj: Channel) -> str:
        return format_html('<a href="{}">Messages</a>', history_url(obj))

    def object_tools(self, obj: Channel) -> list[tuple[str, str]]:
        return [("Messages", history_url(obj))]

    def get_fieldsets(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        if obj and obj.built_in:
            return [(None, {"fields": [name for name in self.fields if name != "expires_at"], "description": BUILT_IN})]
        stream = [("As a Twilio stream", {"fields": self.readonly_fields})] if obj and streams.is_stream(obj) else []
        return [(None, {"fields": self.fields}), *stream]

    @admin.display(description="stream SID")
    def stream_sid(self, obj: Channel) -> str:
        return sids.stream_sid(obj.uuid)

    def unique_name(self, obj: Channel) -> str:
        return streams.unique_name(obj) or "(none)"

    def reason_to_keep(self, request: HttpRequest, obj: Channel) -> str:
        return BUILT_IN if obj.built_in else ""

    def make(self, request: HttpRequest, values: dict[str, Any]) -> Channel:
        return tenancy.create_channel(values.pop("instance"), **values)

    def delete_model(self, request: HttpRequest, obj: Channel) -> None:
        tenancy.delete_channel(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        for channel in queryset:
            tenancy.delete_channel(channel)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[str], dict[str, Any], set[str], list[str]]:
        counts = {"channels": len(objs), **ALL_MESSAGES}
        return [full_name(each) for each in objs], counts, set(), self.kept(request, objs, full_name)
