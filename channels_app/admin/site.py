"""The admin site: Django's, with a page for messages, which have no ModelAdmin (their key is composite, their number huge)."""

import functools
from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, path, reverse

from channels_app.core import throttling
from channels_app.core.errors import Throttled
from channels_app.models import Group

from .fields import named_with_instance
from .messages import message_list


class Suggestions(AutocompleteJsonView):
    """What is offered while a name is typed. Channels choose a group: those of all instances are offered together."""

    def serialize_result(self, obj: Model, to_field_name: str) -> dict[str, str]:
        result = super().serialize_result(obj, to_field_name)
        return result | {"text": named_with_instance(obj)} if isinstance(obj, Group) else result


class LoginForm(AdminAuthenticationForm):
    """Wrong passwords are counted with those of the API's logins."""

    def clean(self) -> dict[str, Any]:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        try:
            with throttling.guard_login(address, failure=ValidationError):
                return super().clean()
        except Throttled as throttled:
            seconds = throttled.retry_after
            raise ValidationError(f"Too many wrong passwords from your address. Try again in {seconds} seconds.") from None


class PubSubAdminSite(admin.AdminSite):
    login_form = LoginForm
    site_header = "Pub/sub server"
    site_title = "Pub/sub server"
    index_title = "Administration"
    site_url = None  # "View site" would be bare JSON: templates/admin/base_site.html leads to the API's documentation

    def get_urls(self) -> list[URLPattern | URLResolver]:
        messages = path("channels_app/message/", self.admin_view(message_list), name="channels_app_message")
        return [messages, *super().get_urls()]

    def autocomplete_view(self, request: HttpRequest) -> Any:
        return Suggestions.as_view(admin_site=self)(request)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        app_list = super().get_app_list(request, app_label)
        for app in app_list:
            if app["app_label"] == "channels_app":
                app["models"].append(_messages_entry())
        return app_list


def _messages_entry() -> dict[str, Any]:
    url = reverse("admin:channels_app_message")
    return {"name": "Messages", "object_name": "Message", "admin_url": url, "add_url": None, "view_only": True}


@functools.cache
def default_site() -> PubSubAdminSite:
    """Cached: Django asks for it a second time while the first import of this package is still registering models."""
    return PubSubAdminSite()
