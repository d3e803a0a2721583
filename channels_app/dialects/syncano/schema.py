"""What the API's documentation says of every operation, once for all views."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from .pagination import PARAMETERS
from .serializers.channels import Detail

ERRORS = {
    400: OpenApiResponse(OpenApiTypes.OBJECT, "A field is wrong (`{field: [messages]}`), or the body is no JSON."),
    401: OpenApiResponse(Detail, "The name or the password is wrong."),
    403: OpenApiResponse(Detail, "No key, a key that is unknown here, or no right to do this."),
    404: OpenApiResponse(Detail, "The instance, the channel or the object does not exist."),
    409: OpenApiResponse(Detail, "This clashes with what is already there."),
    413: OpenApiResponse(Detail, "The body is too long."),
    415: OpenApiResponse(Detail, "The body is neither JSON nor a form."),
    429: OpenApiResponse(Detail, "Too many requests; `Retry-After` says when to come back."),
    501: OpenApiResponse(Detail, "The server cannot hold connections: it is no ASGI server."),
    503: OpenApiResponse(Detail, "The store is not available; try again after `Retry-After`."),
    507: OpenApiResponse(Detail, "The disk is full; nothing was stored."),
}
NAMES = ("instance", "channel")  # in paths; everything else there is an id
READING = (400, 403, 404, 429, 503)
WRITING = (*READING, 409, 413, 415, 507)

SUMMARIES = {
    "list": "List {things}",
    "create": "Create {thing}",
    "retrieve": "Get {thing}",
    "update": "Replace {thing}",
    "partial_update": "Change {thing}",
    "destroy": "Delete {thing}",
}
PAGE_PARAMETERS = [
    OpenApiParameter(name, int if schema["type"] == "integer" else str, description=description, enum=schema.get("enum"))
    for name, description, schema in PARAMETERS
]


class SyncanoSchema(AutoSchema):
    """Tag and summary from the view set's `tag` and `thing`; the errors that every operation may answer."""

    view: Any  # a SyncanoViewSet

    def get_tags(self) -> list[str]:
        return [self.view.tag]

    def get_summary(self) -> str | None:
        summary = SUMMARIES.get(self.view.action)
        return summary.format(thing=self.view.thing, things=self.view.things) if summary else None

    def get_operation_id(self) -> str:
        return f"{type(self.view).__name__.removesuffix('ViewSet')}_{self.view.action}"

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        kinds = {name: {"type": "string" if name in NAMES else "integer"} for name in variables}
        return [{"in": "path", "name": name, "required": True, "schema": kind} for name, kind in kinds.items()]

    def get_auth(self) -> list[dict[str, Any]]:
        return [] if self.view.is_public else [{"ApiKey": []}, {"ApiKey": [], "UserKey": []}]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for status in WRITING if self.method in ("POST", "PUT", "PATCH") else READING:
            if str(status) not in bodies:
                bodies[str(status)] = self._get_response_for_code(ERRORS[status], str(status), direction=direction)  # type: ignore[no-untyped-call]
        return bodies


def only_v1_1(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """A preprocessing hook: v1 is the same API under an older name, so it is not described twice."""
    return [endpoint for endpoint in endpoints if not endpoint[0].startswith("/v1/")]
