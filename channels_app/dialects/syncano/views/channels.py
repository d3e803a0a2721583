"""Channels: their configuration (wire/syncano.md §7). What is published to them: `messages`."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import DestroyModelMixin, RetrieveModelMixin, UpdateModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.core import tenancy
from channels_app.core.directory import channel_info
from channels_app.core.errors import NotFound, PermissionDenied
from channels_app.core.permissions import Action, authorize, may_ever, readable
from channels_app.core.principals import Principal
from channels_app.models import Channel

from ..serializers.channels import ChannelSerializer, NewChannelSerializer
from .base import InstanceScopedViewSet, NamedListMixin, unique

CHANGES = ("create", "update", "partial_update", "destroy")


class ChannelViewSet(NamedListMixin, RetrieveModelMixin, UpdateModelMixin, DestroyModelMixin, InstanceScopedViewSet):
    """The channels of an instance. Managers change them (D11); the list has those that the caller may read."""

    tag, thing, things = "channels", "a channel", "channels"
    serializer_class = ChannelSerializer

    def permits(self, principal: Principal) -> bool:
        return principal.is_manager if self.action in CHANGES else may_ever(principal, Action.READ)

    def get_queryset(self) -> QuerySet[Channel]:
        return Channel.objects.filter(readable(self.principal), instance_id=self.instance.id)

    def get_object(self) -> Channel:
        name = self.kwargs["channel"].lower()
        rows = Channel.objects.filter(instance_id=self.instance.id, name=name)
        found = rows.first() if "\x00" not in name else None  # PostgreSQL would not take it, and no name has it
        if found is None:
            raise NotFound("channel")
        authorize(self.principal, Action.READ, channel_info(found, self.instance.name))
        return found

    def perform_destroy(self, instance: Channel) -> None:
        if instance.built_in:
            raise PermissionDenied(rule="a built-in channel goes with its instance only")
        tenancy.delete_channel(instance)

    @extend_schema(request=NewChannelSerializer, responses={201: ChannelSerializer})
    def create(self, request: Request, **_: Any) -> Response:
        given = self.validated(NewChannelSerializer)
        with unique("name"):
            channel = tenancy.create_channel(self.instance_row(), **given)
        return Response(self.get_serializer(channel).data, status=201)
