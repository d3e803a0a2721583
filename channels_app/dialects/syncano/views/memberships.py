"""Who is in which group: one relation, seen from the group and, mirrored, from the user (wire/syncano.md §6)."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import DestroyModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.core import tenancy
from channels_app.core.errors import Conflict
from channels_app.core.principals import Principal
from channels_app.models import Group, InstanceUser, Membership

from ..serializers.people import (
    GroupMemberSerializer,
    NewGroupMemberSerializer,
    NewUserGroupSerializer,
    UserGroupSerializer,
)
from .base import InstanceScopedViewSet, find, is_editor
from .people import sees_everybody, users_visible_to


class MembershipViewSet(ListModelMixin, RetrieveModelMixin, DestroyModelMixin, InstanceScopedViewSet):
    """What both sides share."""

    tag = "groups"

    def permits(self, principal: Principal) -> bool:
        if self.action in ("create", "destroy"):
            return is_editor(principal)
        return sees_everybody(principal) or bool(principal.user_id)

    def memberships(self) -> QuerySet[Membership]:
        rows = Membership.objects.filter(group__instance_id=self.instance.id)
        rows = rows.select_related("user", "group").prefetch_related("user__groups")
        return rows if sees_everybody(self.principal) else rows.filter(user_id=self.principal.user_id)

    def parent_group(self) -> Group:
        return find(Group.objects.filter(instance_id=self.instance.id), self.kwargs["group"], missing="Group was not found.")

    def parent_user(self) -> InstanceUser:
        return find(users_visible_to(self.principal, self.instance.id), self.kwargs["user"], missing="User was not found.")

    def join(self, user: InstanceUser, group: Group) -> Response:
        try:
            membership = tenancy.add_to_group(user, group)
        except Conflict as error:
            raise ValidationError({"detail": error.message}) from None
        return Response(self.get_serializer(membership).data, status=201)


class GroupMembersViewSet(MembershipViewSet):
    """The users in a group."""

    thing, things = "a user of the group", "users of the group"
    serializer_class = GroupMemberSerializer

    def get_queryset(self) -> QuerySet[Membership]:
        return self.memberships().filter(group=self.parent_group())

    def get_object(self) -> Membership:
        return find(self.get_queryset(), self.kwargs["user"], by="user_id")

    @extend_schema(
        summary="Put a user into the group", request=NewGroupMemberSerializer, responses={201: GroupMemberSerializer}
    )
    def create(self, request: Request, **_: Any) -> Response:
        group = self.parent_group()
        return self.join(self.validated(NewGroupMemberSerializer)["user"], group)


class UserGroupsViewSet(MembershipViewSet):
    """The groups that a user is in."""

    thing, things = "a group of the user", "groups of the user"
    serializer_class = UserGroupSerializer

    def get_queryset(self) -> QuerySet[Membership]:
        return self.memberships().filter(user=self.parent_user())

    def get_object(self) -> Membership:
        return find(self.get_queryset(), self.kwargs["group"], by="group_id")

    @extend_schema(summary="Put the user into a group", request=NewUserGroupSerializer, responses={201: UserGroupSerializer})
    def create(self, request: Request, **_: Any) -> Response:
        user = self.parent_user()
        return self.join(user, self.validated(NewUserGroupSerializer)["group"])
