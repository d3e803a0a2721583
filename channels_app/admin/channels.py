"""Channels, each with a link to its history."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from channels_app.core import tenancy
from channels_app.models import Channel

from .fields import LowerCaseField
from .messages import history_url
from .scope import ScopedAdmin

BUILT_IN = "Built in: it belongs to the instance, and goes only with it."


class ChannelForm(forms.ModelForm):
    class Meta:
        model = Channel
        fields = "__all__"  # noqa: DJ007  (ChannelAdmin.fields says which)
        field_classes = {"name": LowerCaseField}

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
    list_display = ("name", "history", "instance", "type", "custom_publish", "group_permissions", "other_permissions")
    list_filter = (("instance", admin.RelatedOnlyFieldListFilter), "type", "custom_publish")
    list_select_related = ("instance",)
    search_fields = ("name", "description", "instance__name")
    autocomplete_fields = ("instance", "group")
    fields = (
        "instance", "name", "description", "type", "custom_publish", "group", "group_permissions", "other_permissions",
        "retention_age", "retention_count",
    )  # fmt: skip

    @admin.display(description="history")
    def history(self, obj: Channel) -> str:
        return format_html('<a href="{}">Messages</a>', history_url(obj))

    def object_tools(self, obj: Channel) -> list[tuple[str, str]]:
        return [("Messages", history_url(obj))]

    def get_fieldsets(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        return [(None, {"fields": self.fields, "description": BUILT_IN if obj and obj.built_in else ""})]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        channel = self.get_object(request, object_id)
        show_delete = channel is not None and not channel.built_in
        return super().change_view(request, object_id, form_url, {"show_delete": show_delete, **(extra_context or {})})

    def make(self, request: HttpRequest, values: dict[str, Any]) -> Channel:
        return tenancy.create_channel(values.pop("instance"), **values)

    def delete_model(self, request: HttpRequest, obj: Channel) -> None:
        tenancy.delete_channel(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        for channel in queryset:
            tenancy.delete_channel(channel)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What is "protected" cannot be confirmed: the page says why."""
        protected = [f"{each.instance}/{each}: {BUILT_IN}" for each in objs if each.built_in]
        return [f"{each.instance}/{each}" for each in objs], {"channels": len(objs)}, set(), protected
