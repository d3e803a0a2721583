"""Instances (wire/syncano.md §4)."""

from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import DestroyModelMixin, RetrieveModelMixin, UpdateModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.core import directory, tenancy
from channels_app.core.errors import PermissionDenied
from channels_app.core.principals import Principal
from channels_app.models import Collaborator, Instance

from ..serializers.tenancy import InstanceSerializer, NewInstanceSerializer, RenameSerializer
from .base import InstanceScopedViewSet, NamedListMixin, unique


def visible_to(principal: Principal) -> QuerySet[Instance]:
    """An administrator's own and shared instances; an API key's one."""
    rows = Instance.objects.select_related("owner__administrator")
    if principal.api_key_id:
        return rows.filter(pk=principal.instance_id)
    roles = Collaborator.objects.filter(user_id=principal.administrator_id)
    role_here = roles.filter(instance_id=OuterRef("pk")).values("role")
    mine = Q(owner_id=principal.administrator_id) | Q(pk__in=roles.values("instance_id"))
    return rows.filter(mine).annotate(collaborator_role=Subquery(role_here))


class InstancesViewSet(NamedListMixin):
    """All instances that the key's bearer may see."""

    tag, thing, things = "instances", "an instance", "instances"
    serializer_class = InstanceSerializer

    def enter(self, request: Request) -> None:
        request.auth = directory.resolve(self.credentials(), None)
        allowed = self.principal.is_administrator if request.method == "POST" else not self.principal.is_anonymous
        if not allowed:
            raise PermissionDenied(rule="account key only")

    def get_queryset(self) -> QuerySet[Instance]:
        return visible_to(self.principal)

    @extend_schema(request=NewInstanceSerializer, responses={201: InstanceSerializer})
    def create(self, request: Request, **_: Any) -> Response:
        given = self.validated(NewInstanceSerializer)
        owner = self.administrator_row()
        with unique("name"):
            instance = tenancy.create_instance(owner=owner, quota=tenancy.quota_of_instances(owner.pk), **given)
        return Response(self.get_serializer(instance).data, status=201)


class InstanceViewSet(RetrieveModelMixin, UpdateModelMixin, DestroyModelMixin, InstanceScopedViewSet):
    """One instance. Its name changes by `rename` only, and its channels stay what they are."""

    tag, thing, things = "instances", "an instance", "instances"
    serializer_class = InstanceSerializer

    def permits(self, principal: Principal) -> bool:
        if self.action == "destroy":
            return principal.is_administrator and principal.administrator_id == self.instance.owner_id
        if self.action in ("update", "partial_update", "rename"):
            return principal.is_owner_like
        return not principal.is_anonymous

    def get_object(self) -> Instance:
        return self.instance_row()

    def perform_destroy(self, instance: Instance) -> None:
        tenancy.delete_instance(instance)

    @extend_schema(summary="Rename an instance", request=RenameSerializer, responses=InstanceSerializer)
    def rename(self, request: Request, **_: Any) -> Response:
        new_name = self.validated(RenameSerializer)["new_name"]
        instance = self.instance_row()
        with unique("new_name"):
            tenancy.rename_instance(instance, new_name)
        return Response(self.get_serializer(instance).data)
