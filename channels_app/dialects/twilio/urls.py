"""The Django routes of Twilio Sync, v1: none ends with a slash."""

from collections.abc import Mapping
from typing import Any

from django.urls import URLPattern, path, re_path

from .views.base import TwilioViewSet
from .views.messages import MessagesViewSet
from .views.missing import NotServedViewSet, NowhereViewSet
from .views.services import ServicesViewSet, ServiceViewSet
from .views.streams import StreamsViewSet, StreamViewSet

LIST = {"get": "list", "post": "create"}
ONE = {"get": "retrieve", "post": "update", "delete": "destroy"}
MISSING: dict[str, Any] = dict.fromkeys(("get", "post", "put", "patch", "delete"), "missing")
SERVICE = "v1/Services/<service>"
STREAM = f"{SERVICE}/Streams/<stream>"


def route(pattern: str, view: type[TwilioViewSet], actions: Mapping[str, str]) -> URLPattern:
    return path(pattern, view.as_view(dict(actions)))


urlpatterns = [
    route("v1/Services", ServicesViewSet, LIST),
    route(SERVICE, ServiceViewSet, ONE),
    route(f"{SERVICE}/Streams", StreamsViewSet, LIST),
    route(STREAM, StreamViewSet, ONE),
    route(f"{STREAM}/Messages", MessagesViewSet, {"post": "create"}),
    re_path(
        r"\Av1/Services/(?P<service>[^/]+)/(?P<kind>Documents|Lists|Maps)(?:/|\Z)",
        NotServedViewSet.as_view(MISSING),
    ),
    re_path(r"\A(?:v1/[A-Z]|v3/)", NowhereViewSet.as_view(MISSING)),
]
