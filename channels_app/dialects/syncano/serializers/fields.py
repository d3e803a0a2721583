"""The kinds of values this wire has, beside Django REST framework's own."""

from datetime import UTC
from typing import Any

from django.db.models import Model, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from channels_app.core import tenancy

from .. import links
from ..encoding import DATE_FORMAT
from ..errors import ParseError
from ..parsing import parse_json

UNIQUE = "This field must be unique."
MAX_DEPTH = 32


class Date(serializers.DateTimeField):
    def __init__(self, **options: Any) -> None:
        super().__init__(format=DATE_FORMAT, default_timezone=UTC, read_only=True, **options)


@extend_schema_field(OpenApiTypes.OBJECT)
class ObjectField(serializers.Field[Any, Any, Any, Any]):
    """A JSON object, or (in forms) its text. What the database's JSON column could not hold is refused."""

    default_error_messages = {"invalid": "Not a valid JSON string."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, str):
            try:
                data = parse_json(data.encode("utf-8"))
            except ParseError:
                self.fail("invalid")
        if not isinstance(data, dict) or not _is_storable(data):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


def _is_storable(value: Any, depth: int = 0) -> bool:
    """PostgreSQL's jsonb has no NUL; a depth that only some readers can take is none."""
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, str):
        return "\x00" not in value
    if isinstance(value, dict):
        return all(_is_storable(key, depth) and _is_storable(each, depth + 1) for key, each in value.items())
    if isinstance(value, list):
        return all(_is_storable(each, depth + 1) for each in value)
    return True


class InstanceRelatedField(serializers.PrimaryKeyRelatedField[Any]):
    """The id of another row of the same instance; those of other instances do not exist."""

    def get_queryset(self) -> QuerySet[Any]:
        rows: Any = super().get_queryset()
        return rows.filter(instance_id=self.context["instance"].id)


class RowSerializer(serializers.ModelSerializer[Any]):
    """A row of an instance. Raises NotFound for a change to one that was deleted meanwhile."""

    @property
    def instance_link(self) -> str:
        return links.instance(self.context["version"], self.context["instance"].name)

    def update(self, instance: Model, validated_data: dict[str, Any]) -> Model:
        tenancy.change(instance, **validated_data)
        return instance
