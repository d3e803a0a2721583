"""API keys: created, rotated with an overlap, revoked."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from channels_app.core import tenancy
from channels_app.core.credentials import Secret
from channels_app.models import ApiKey

from . import secret
from .scope import ScopedAdmin

OVERLAPS = {"0": "not at all: it stops now", "3600": "1 hour", "86400": "24 hours", "604800": "7 days"}  # by seconds


class RotateForm(forms.Form):
    overlap = forms.ChoiceField(
        label="The old key works on for", choices=list(OVERLAPS.items()), initial="86400", widget=forms.RadioSelect
    )


@admin.register(ApiKey)
class ApiKeyAdmin(secret.RevocableAdmin, ScopedAdmin):
    secret_name = "API key"  # noqa: S105  (what it is called)
    renew_label = "Rotate"
    renew_warning = "This key gets a new secret."
    renew_form = RotateForm

    list_display = ("key", "instance", "description", "ignore_acl", "last_used_at", "previous_expires_at")
    list_display_links = ("key", "description")
    list_filter = (("instance", admin.RelatedOnlyFieldListFilter), "ignore_acl")
    list_select_related = ("instance",)
    search_fields = ("prefix", "description", "instance__name")
    autocomplete_fields = ("instance",)
    fields = (
        "instance", "description", "ignore_acl", "allow_user_create", "allow_group_create", "allow_anonymous_read",
        "key", "last_used_at", "previous_expires_at", "created_at",
    )  # fmt: skip
    readonly_fields = ("key", "last_used_at", "previous_expires_at", "created_at")

    @admin.display(ordering="prefix")
    def key(self, obj: ApiKey) -> str:
        return f"{obj.prefix}…" if obj.prefix else "shown once it is saved"

    def make(self, request: HttpRequest, values: dict[str, Any]) -> ApiKey:
        key, made = tenancy.create_api_key(values.pop("instance"), **values)
        secret.keep(request, key, made.text)
        return key

    def warning(self, obj: ApiKey) -> str:
        until = obj.previous_expires_at
        older = until is not None and until > timezone.now()
        also = " The one from before the last rotation, which still works, stops at once." if older else ""
        return self.renew_warning + also

    def renew(self, obj: ApiKey, **choices: Any) -> tuple[Secret, str]:
        seconds = choices["overlap"]
        made = tenancy.rotate_api_key(obj, overlap=timedelta(seconds=int(seconds)))
        return made, f"Rotated; the old key works on for: {OVERLAPS[seconds]}."

    def revoke(self, obj: ApiKey) -> None:
        tenancy.revoke_api_key(obj)
