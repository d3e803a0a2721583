"""API keys (wire/syncano.md §5)."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import DestroyModelMixin, ListModelMixin, RetrieveModelMixin, UpdateModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.core import tenancy
from channels_app.core.principals import Principal
from channels_app.models import ApiKey

from ..serializers.tenancy import ApiKeySerializer
from .base import InstanceScopedViewSet, find


class ApiKeyViewSet(ListModelMixin, RetrieveModelMixin, UpdateModelMixin, DestroyModelMixin, InstanceScopedViewSet):
    """Keys of an instance. A key's secret is in the answers to create and reset, and nowhere else."""

    tag, thing, things = "api keys", "an API key", "API keys"
    serializer_class = ApiKeySerializer

    def permits(self, principal: Principal) -> bool:
        if self.action in ("create", "update", "partial_update", "destroy", "reset"):
            return principal.is_owner_like
        return not principal.is_anonymous

    def get_queryset(self) -> QuerySet[ApiKey]:
        rows = ApiKey.objects.filter(instance_id=self.instance.id)
        return rows.filter(pk=self.principal.api_key_id) if self.principal.api_key_id else rows

    def get_object(self) -> ApiKey:
        return find(self.get_queryset(), self.kwargs["key"])

    def perform_destroy(self, instance: ApiKey) -> None:
        tenancy.revoke_api_key(instance)

    @extend_schema(responses={201: ApiKeySerializer})
    def create(self, request: Request, **_: Any) -> Response:
        given = self.validated(ApiKeySerializer)
        key, secret = tenancy.create_api_key(self.instance_row(), **given)
        return Response(self._with_secret(key, secret.text), status=201)

    @extend_schema(summary="Give an API key a new secret; the old one stops", request=None, responses=ApiKeySerializer)
    def reset(self, request: Request, **_: Any) -> Response:
        key = self.get_object()
        return Response(self._with_secret(key, tenancy.rotate_api_key(key).text))

    def _with_secret(self, key: ApiKey, secret: str) -> dict[str, Any]:
        return ApiKeySerializer(key, context={**self.get_serializer_context(), "secret": secret}).data
