"""Pages by key (wire/syncano.md §9): no count, no offset, the same scheme for every list.

A page goes on after (`direction=1`) or back from before (`direction=0`) the row `last_pk`, in the list's order. A full page
links to the next one, which may turn out empty: to know better would cost another read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .parsing import integer

PAGE_SIZE = 100  # default, and most
KEPT = ("page_size", "ordering", "room", "last_id", "name__startswith", "fields", "excluded_fields")  # in links

Read = Callable[[bool, int | None, int], list[Any]]
"""(descending, id to go on from or None, limit) → rows in that order."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    size: int
    descending: bool
    forward: bool
    last_pk: int | None
    kept: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, query: Mapping[str, str], *, descending: bool = False) -> "PageRequest":
        """`descending` is the list's order when the client asks none. Raises ValidationError."""
        size = _integer(query, "page_size", PAGE_SIZE)
        direction = _integer(query, "direction", 1)
        if size is None or size < 0 or direction not in (0, 1):
            raise _wrong()
        ordering = query.get("ordering", "").lower()
        return cls(
            size=min(size, PAGE_SIZE),
            descending=ordering == "desc" if ordering in ("asc", "desc") else descending,
            forward=direction == 1,
            last_pk=_integer(query, "last_pk", None),
            kept=tuple((name, query[name]) for name in KEPT if name in query),
        )

    @property
    def is_first(self) -> bool:
        return self.forward and self.last_pk is None

    def read(self, rows: Read) -> list[Any]:
        """The page, in the list's order."""
        page = rows(self.descending is self.forward, self.last_pk, self.size) if self.size else []
        return page if self.forward else page[::-1]

    def links(self, path: str, pks: Sequence[int]) -> tuple[str | None, str | None]:
        """`next` and `prev` of a page that has these ids."""
        full = bool(pks) and len(pks) == self.size
        next_link = prev_link = None
        if full or not self.forward:
            next_link = self._link(path, 1, pks[-1] if pks else None)
        if (full or self.forward) and not self.is_first:
            prev_link = self._link(path, 0, pks[0] if pks else None)
        return next_link, prev_link

    def _link(self, path: str, direction: int, pk: int | None) -> str:
        query = [*self.kept, ("direction", str(direction))]
        return f"{path}?{urlencode(query if pk is None else [*query, ('last_pk', str(pk))])}"


def _integer(query: Mapping[str, str], name: str, default: int | None) -> int | None:
    if name not in query:
        return default
    number = integer(query[name])
    if number is None:
        raise _wrong()
    return number


def _wrong() -> ValidationError:
    return ValidationError({"detail": "Incorrect page parameter provided."})


def chosen(query: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Which of an object's fields `fields` and `excluded_fields` (comma lists) leave."""
    wanted, unwanted = _names(query.get("fields", "")), _names(query.get("excluded_fields", ""))
    return [name for name in names if (not wanted or name in wanted) and name not in unwanted]


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


class KeysetPagination(BasePagination):
    """The scheme as Django REST framework's lists use it, for rows ordered by their primary key."""

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        self._query, self._path = request.query_params, request.path
        self._page = PageRequest.of(self._query)

        def rows(descending: bool, last_pk: int | None, limit: int) -> list[Any]:
            ordered: QuerySet[Any] = queryset.order_by("-pk" if descending else "pk")
            if last_pk is not None:
                ordered = ordered.filter(**{"pk__lt" if descending else "pk__gt": last_pk})
            return list(ordered[:limit])

        page = self._page.read(rows)
        self._pks = [row.pk for row in page]
        return page

    def get_paginated_response(self, data: Sequence[Mapping[str, Any]]) -> Response:
        next_link, prev_link = self._page.links(self._path, self._pks)
        objects = [{name: each[name] for name in chosen(self._query, list(each))} for each in data]
        return Response({"next": next_link, "prev": prev_link, "objects": objects})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "prev", "objects"],
            "properties": {"next": link, "prev": link, "objects": schema},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
            for name, description, schema in PARAMETERS
        ]


_INTEGER, _TEXT = {"type": "integer"}, {"type": "string"}
PARAMETERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("page_size", f"Objects on a page, at most {PAGE_SIZE}.", {**_INTEGER, "minimum": 0, "default": PAGE_SIZE}),
    ("ordering", "Order of the ids.", {**_TEXT, "enum": ["asc", "desc"]}),
    ("last_pk", "The id to go on from.", _INTEGER),
    ("direction", "1: on from `last_pk`; 0: back.", {**_INTEGER, "enum": [0, 1], "default": 1}),
    ("fields", "Only these fields, separated by commas.", _TEXT),
    ("excluded_fields", "Not these fields, separated by commas.", _TEXT),
)
