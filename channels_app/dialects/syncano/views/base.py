"""What all views of this wire share: who is asking, of which instance, and whether that may be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer

from channels_app.core import directory, throttling
from channels_app.core.credentials import Credentials
from channels_app.core.directory import InstanceInfo
from channels_app.core.errors import InvalidKey, NotFound, PermissionDenied
from channels_app.core.principals import FULL, WRITE, Principal
from channels_app.dialects.rest import RestViewSet
from channels_app.models import Instance

from .. import auth, errors
from ..pagination import KeysetPagination
from ..parsing import integer
from ..schema import SyncanoSchema
from ..serializers.fields import UNIQUE
from ..transport import AnyContent, Description, FormParser, JSONParser, PlainTextParser


class SyncanoViewSet(RestViewSet):
    """The base: transport, credentials and errors of the wire. Subclasses say in `enter` who may come in."""

    parser_classes = [JSONParser, PlainTextParser, FormParser, MultiPartParser]
    content_negotiation_class = AnyContent
    metadata_class = Description
    pagination_class = KeysetPagination
    schema = SyncanoSchema()
    # For the documentation: its chapter, and what the operations are about.
    tag = thing = things = ""
    is_public = False

    def get_exception_handler(self) -> Callable[..., Any]:
        return errors.exception_handler

    @property
    def version(self) -> str:
        """The API version that the client asked, the first part of every link."""
        return str(self.kwargs["version"])

    @property
    def principal(self) -> Principal:
        return self.request.auth  # type: ignore[return-value]  # set by `enter`

    @property
    def address(self) -> str:
        return str(self.request.META.get("REMOTE_ADDR", ""))

    def credentials(self) -> Credentials:
        """From the places of wire/syncano.md §3; the body is read only when nothing else has a key."""
        query = {name: values[0] for name, values in self.request.GET.lists() if values}
        found = auth.credentials(self.request.headers, query)
        if found.api_key or self.request.method not in ("POST", "PUT", "PATCH"):
            return found
        return auth.credentials(self.request.headers, query, self.request.data)

    def administrator_row(self) -> Any:
        """The Django user whose account key it is. Raises InvalidKey: the directory may remember one that is gone."""
        found = get_user_model().objects.filter(pk=self.principal.administrator_id).first()
        if found is None:
            raise InvalidKey
        return found

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "version": self.kwargs.get("version", "")}

    def validated(self, serializer_class: type[BaseSerializer[Any]], **context: Any) -> dict[str, Any]:
        """The request's body, checked. Raises ValidationError."""
        serializer = serializer_class(data=self.request.data, context={**self.get_serializer_context(), **context})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class NamedListMixin(ListModelMixin, SyncanoViewSet):
    """A list of named things, which can be asked for those whose name starts so."""

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        prefix = self.request.query_params.get("name__startswith", "")
        if "\x00" in prefix:  # PostgreSQL would not take it, and no name has it
            return queryset.none()
        return queryset.filter(name__startswith=prefix) if prefix else queryset


class PublicViewSet(SyncanoViewSet):
    """Needs no key; so it is limited by the client's address."""

    is_public = True

    def enter(self, request: Request) -> None:
        throttling.check_anonymous(self.address)


class InstanceScopedViewSet(SyncanoViewSet):
    """Everything under `/instances/<instance>/`. Checks in the order of wire/syncano.md §1."""

    instance: InstanceInfo

    def enter(self, request: Request) -> None:
        self.instance = directory.instance(self.kwargs["instance"])
        request.auth = directory.resolve(self.credentials(), self.instance)
        if not self.permits(self.principal):
            raise PermissionDenied(rule=f"{type(self).__name__}.{self.action}")
        throttling.check_instance(self.instance)

    def permits(self, principal: Principal) -> bool:
        """Whether this caller may do this (`self.action`; None for a method that is not there) at all."""
        return not principal.is_anonymous

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "instance": getattr(self, "instance", None)}

    def instance_row(self) -> Instance:
        found = Instance.objects.filter(pk=self.instance.id).first()
        if found is None:
            raise NotFound("instance")
        return found


def is_editor(principal: Principal) -> bool:
    """An administrator who may change people."""
    return principal.role in (FULL, WRITE)


def find(rows: QuerySet[Any], text: str, *, by: str = "pk", missing: str = "") -> Any:
    """The row whose id the path spells. Raises NotFound, saying `missing`."""
    number = integer(text)
    found = rows.filter(**{by: number}).first() if number is not None else None
    if found is None:
        raise NotFound(message=missing)
    return found


@contextmanager
def unique(field: str) -> Iterator[None]:
    """Somebody else took the value between our look and our write."""
    try:
        yield
    except IntegrityError:
        raise ValidationError({field: [UNIQUE]}) from None
