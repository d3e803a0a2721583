"""Users, their logins, and groups (wire/syncano.md §6)."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import (
    CreateModelMixin,
    DestroyModelMixin,
    ListModelMixin,
    RetrieveModelMixin,
    UpdateModelMixin,
)
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from channels_app.core import tenancy, throttling
from channels_app.core.credentials import unseal
from channels_app.core.principals import Principal
from channels_app.models import Group, InstanceUser

from ..errors import LoginFailed
from ..schema import ERRORS
from ..serializers.people import GroupSerializer, NewUserSerializer, UserLoginSerializer, UserSerializer
from .base import InstanceScopedViewSet, find, is_editor, unique

CHANGES = ("update", "partial_update", "destroy", "reset")


def users_visible_to(principal: Principal, instance_id: int) -> QuerySet[InstanceUser]:
    """Administrators and ignore_acl keys see all users, a user only itself."""
    rows = InstanceUser.objects.filter(instance_id=instance_id).prefetch_related("groups")
    return rows if sees_everybody(principal) else rows.filter(pk=principal.user_id)


def sees_everybody(principal: Principal) -> bool:
    return principal.is_administrator or principal.ignore_acl


class UserKeyMixin(InstanceScopedViewSet):
    """Answers that hand a user's key to its owner."""

    def with_key(self, user: InstanceUser) -> dict[str, Any]:
        context = {**self.get_serializer_context(), "secret": unseal(user.key_sealed)}
        return UserSerializer(user, context=context).data

    def perform_update(self, serializer: BaseSerializer[InstanceUser]) -> None:
        with unique("username"):
            serializer.save()


class UserViewSet(ListModelMixin, RetrieveModelMixin, UpdateModelMixin, DestroyModelMixin, UserKeyMixin):
    """The users of an instance."""

    tag, thing, things = "users", "a user", "users"
    serializer_class = UserSerializer

    def permits(self, principal: Principal) -> bool:
        if self.action == "create":
            return is_editor(principal) or principal.allow_user_create
        if self.action in CHANGES:
            return is_editor(principal)
        return sees_everybody(principal) or bool(principal.user_id)

    def get_queryset(self) -> QuerySet[InstanceUser]:
        return users_visible_to(self.principal, self.instance.id)

    def get_object(self) -> InstanceUser:
        return find(self.get_queryset(), self.kwargs["user"])

    @extend_schema(request=NewUserSerializer, responses={201: UserSerializer})
    def create(self, request: Request, **_: Any) -> Response:
        given = self.validated(NewUserSerializer)
        with unique("username"):
            user = tenancy.create_user(self.instance_row(), **given)
        return Response(self.with_key(user), status=201)

    @extend_schema(summary="Give a user a new key; the old one stops", request=None, responses=UserSerializer)
    def reset(self, request: Request, **_: Any) -> Response:
        user = self.get_object()
        tenancy.reset_user_key(user)
        return Response(self.with_key(user))


class UserLoginViewSet(UserKeyMixin):
    """A user's key for name and password, with any key of the instance."""

    tag = "users"
    serializer_class = UserLoginSerializer

    @extend_schema(summary="Log in as a user", responses={200: UserSerializer, 401: ERRORS[401]})
    def login(self, request: Request, **_: Any) -> Response:
        given = self.validated(UserLoginSerializer)
        user = InstanceUser.objects.filter(instance_id=self.instance.id, username=given["username"].lower()).first()
        with throttling.guard_login(self.address):
            if user is None:
                make_password(given["password"])  # an unknown name takes as long to refuse as a wrong password
                raise LoginFailed("Invalid username.")
            if not tenancy.password_matches(user, given["password"]):
                raise LoginFailed("Invalid password.")
        return Response(self.with_key(user))


class OwnUserViewSet(RetrieveModelMixin, UpdateModelMixin, UserKeyMixin):
    """The user whose user key it is."""

    tag, thing = "users", "the own user"
    serializer_class = UserSerializer

    def permits(self, principal: Principal) -> bool:
        return bool(principal.user_id)

    def get_object(self) -> InstanceUser:
        return find(users_visible_to(self.principal, self.instance.id), str(self.principal.user_id))


class GroupViewSet(
    ListModelMixin, CreateModelMixin, RetrieveModelMixin, UpdateModelMixin, DestroyModelMixin, InstanceScopedViewSet
):
    """The groups of an instance, by which channels give permissions."""

    tag, thing, things = "groups", "a group", "groups"
    serializer_class = GroupSerializer

    def permits(self, principal: Principal) -> bool:
        if self.action == "create":
            return is_editor(principal) or principal.allow_group_create
        if self.action in CHANGES:
            return is_editor(principal)
        return not principal.is_anonymous

    def get_queryset(self) -> QuerySet[Group]:
        return Group.objects.filter(instance_id=self.instance.id)

    def get_object(self) -> Group:
        return find(self.get_queryset(), self.kwargs["group"])

    def perform_create(self, serializer: BaseSerializer[Group]) -> None:
        serializer.save(instance=self.instance_row())
