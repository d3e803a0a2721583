"""The Django routes of Syncano v1.1, and of v1, the same under an older name (wire/syncano.md §13)."""

from collections.abc import Mapping

from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, URLResolver, include, path, re_path

from .links import V1, V1_1
from .views.accounts import AccountViewSet, LoginViewSet, RootViewSet
from .views.base import SyncanoViewSet
from .views.channels import ChannelViewSet
from .views.instances import InstancesViewSet, InstanceViewSet
from .views.keys import ApiKeyViewSet
from .views.memberships import GroupMembersViewSet, UserGroupsViewSet
from .views.messages import HistoryViewSet, PollViewSet, PublishViewSet
from .views.people import GroupViewSet, OwnUserViewSet, UserLoginViewSet, UserViewSet

LIST = {"get": "list", "post": "create"}
ONE = {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}
OWN = {"get": "retrieve", "put": "update", "patch": "partial_update"}


def route(pattern: str, view: type[SyncanoViewSet], actions: Mapping[str, str]) -> URLPattern:
    return path(pattern, view.as_view(dict(actions)))


def nothing_here(request: HttpRequest, **_: str) -> JsonResponse:
    """JSON where Syncano had a page, which no SDK can read (wire/syncano.md §1)."""
    return JsonResponse({"detail": "Not found."}, status=404)


INSTANCE = [
    route("", InstanceViewSet, ONE),
    route("rename/", InstanceViewSet, {"post": "rename"}),
    route("api_keys/", ApiKeyViewSet, LIST),
    route("api_keys/<key>/", ApiKeyViewSet, ONE),
    route("api_keys/<key>/reset_key/", ApiKeyViewSet, {"post": "reset"}),
    route("users/", UserViewSet, LIST),
    route("users/<user>/", UserViewSet, ONE),
    route("users/<user>/reset_key/", UserViewSet, {"post": "reset"}),
    route("users/<user>/groups/", UserGroupsViewSet, LIST),
    route("users/<user>/groups/<group>/", UserGroupsViewSet, {"get": "retrieve", "delete": "destroy"}),
    route("user/", OwnUserViewSet, OWN),
    route("user/auth/", UserLoginViewSet, {"post": "login"}),
    route("groups/", GroupViewSet, LIST),
    route("groups/<group>/", GroupViewSet, ONE),
    route("groups/<group>/users/", GroupMembersViewSet, LIST),
    route("groups/<group>/users/<user>/", GroupMembersViewSet, {"get": "retrieve", "delete": "destroy"}),
    route("channels/", ChannelViewSet, LIST),
    route("channels/<channel>/", ChannelViewSet, ONE),
    route("channels/<channel>/publish/", PublishViewSet, {"post": "publish"}),
    route("channels/<channel>/poll/", PollViewSet, {"get": "poll"}),
    route("channels/<channel>/history/", HistoryViewSet, {"get": "history"}),
    route("channels/<channel>/history/<message>/", HistoryViewSet, {"get": "message"}),
]

API: list[URLPattern | URLResolver] = [
    route("", RootViewSet, {"get": "retrieve"}),
    route("account/", AccountViewSet, {"get": "retrieve"}),
    route("account/auth/", LoginViewSet, {"post": "login"}),
    route("account/register/", LoginViewSet, {"post": "register"}),
    route("instances/", InstancesViewSet, LIST),
    path("instances/<instance>/", include(INSTANCE)),
    re_path("", nothing_here),
]

urlpatterns = [path(f"{version}/", include(API), {"version": version}) for version in (V1_1, V1)]
