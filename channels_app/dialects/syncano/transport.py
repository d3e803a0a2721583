"""How this wire uses HTTP: which bodies it reads, what it writes, and that it negotiates nothing (wire/syncano.md §1)."""

from collections.abc import Iterable, Mapping
from typing import Any

from rest_framework import parsers
from rest_framework.exceptions import ParseError
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.views import APIView

from channels_app.dialects.rest import AnyAccept

from .parsing import parse_json


class JSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        return parse_json(stream.read())


class PlainTextParser(JSONParser):
    """JSON under another name: it spares browsers the preflight."""

    media_type = "text/plain"


class FormParser(parsers.FormParser):
    """`curl -d '{…}'` calls JSON a form. It would be one, of a field without a value that nothing asks for."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        form = super().parse(stream, media_type, parser_context)
        if next(iter(form), "").lstrip().startswith("{"):
            raise ParseError("This looks like JSON: send it with Content-Type: application/json.")
        return form


class AnyContent(AnyAccept):
    """A body without a content type is taken for JSON."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        return DefaultContentNegotiation().select_parser(request, parsers) if request.content_type else next(iter(parsers))


class Description(BaseMetadata):
    """What OPTIONS answers: the same for everybody, so it needs no key and tells nothing about what exists."""

    def determine_metadata(self, request: Request, view: APIView) -> dict[str, Any]:
        return {
            "name": view.get_view_name(),
            "description": view.get_view_description(),
            "renders": [renderer.media_type for renderer in view.renderer_classes],
            "parses": [parser.media_type for parser in view.parser_classes],
        }
