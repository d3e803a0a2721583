"""How this wire uses HTTP: it reads forms, and answers JSON whatever is asked for (wire/twilio.md §1)."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import QueryDict
from rest_framework.parsers import BaseParser, FormParser
from rest_framework.request import Request

from channels_app.dialects.base import Response
from channels_app.dialects.live import cors_headers, headers_of, json_response
from channels_app.dialects.rest import AnyAccept

from .errors import TOO_LARGE, body_of


class UnreadParser(BaseParser):
    """For all that is no form: its parameters count as missing."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> QueryDict:
        return QueryDict()


class FormsOnly(AnyAccept):
    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        return FormParser() if kind == FormParser.media_type else UnreadParser()


def too_large(scope: dict[str, Any], limit: int) -> Response:
    """The body is not read: the connection cannot carry another request."""
    message = f"Request entity too large: a request body has at most {limit} bytes"
    headers = {"Connection": "close", **cors_headers(headers_of(scope))}
    return json_response(413, body_of(413, TOO_LARGE, message), headers)
