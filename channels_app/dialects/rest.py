"""What the dialects' REST views share: how a request comes into Django REST framework, and how its answer leaves it."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet


class UTF8JSONRenderer(JSONRenderer):
    charset = "utf-8"


class AnyAccept(BaseContentNegotiation):
    """Answers are JSON whatever `Accept` says."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type


class RestViewSet(GenericViewSet[Any]):
    """The base: subclasses name their parsers and errors, and say in `enter` who may come in."""

    renderer_classes = [UTF8JSONRenderer]

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        request.encoding = "utf-8"  # whatever charset the client names: the wire has one
        if "CONTENT_LENGTH" not in request.META:  # sent in chunks, which DRF would take for an empty body
            request.META["CONTENT_LENGTH"] = str(len(request.body))
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        if request.method != "OPTIONS":
            self.enter(request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        finalized: Any = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(finalized, Response):
            finalized.add_post_render_callback(_announce_length)
        else:
            _announce_length(finalized)
        return finalized

    def enter(self, request: Request) -> None:
        """Find out who is asking (`request.auth`) and raise what keeps them out."""
        raise NotImplementedError


def _announce_length(response: HttpResponse) -> None:
    """Without it the answer would go out in chunks. (Django's own middleware for this also redirects, so it stays out.)"""
    response.headers["Content-Length"] = str(len(response.content))
