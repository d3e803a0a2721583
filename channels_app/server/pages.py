"""Django's answer to a defect."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from channels_app.dialects.base import dialect_of_path


def server_error(request: HttpRequest) -> HttpResponse:
    """A page for people; on a dialect's path, where a program reads it, JSON."""
    if dialect_of_path(request.path_info) is None:
        return defaults.server_error(request)
    return JsonResponse({"detail": "Internal server error."}, status=500)
