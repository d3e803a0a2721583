"""`GET /`: where things are. The one answer with full URLs (wire/syncano.md §1)."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

PLACES = {"api": "/v1.1/", "docs": "/api/docs/", "schema": "/api/schema/", "admin": "/admin/"}


@require_safe
def root(request: HttpRequest) -> JsonResponse:
    return JsonResponse({name: request.build_absolute_uri(path) for name, path in PLACES.items()})
