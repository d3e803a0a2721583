"""What is not there: other paths, and the Sync objects that this server does not serve."""

from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.core.errors import NotFound

from ..errors import NOT_FOUND, TwilioError
from .base import ServiceScopedViewSet, TwilioViewSet


class NowhereViewSet(TwilioViewSet):
    def missing(self, request: Request) -> Response:
        raise NotFound("route")


class NotServedViewSet(ServiceScopedViewSet):
    def missing(self, request: Request, service: str, kind: str) -> Response:
        raise TwilioError(404, NOT_FOUND, f"Sync {kind} are not served here: only Streams are")
