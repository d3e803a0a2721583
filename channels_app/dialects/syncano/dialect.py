"""Syncano v1.1 as the server's registry sees it (wire/syncano.md)."""

from typing import Any

from channels_app.conf import conf
from channels_app.dialects.base import Dialect, Response
from channels_app.dialects.live import cors_headers, headers_of, json_response


def too_large(scope: dict[str, Any], limit: int) -> Response:
    """The body is not read: the connection cannot carry another request."""
    headers = {"Connection": "close", **cors_headers(headers_of(scope))}
    return json_response(413, {"detail": f"Request size limit exceeded ({limit})."}, headers)


SYNCANO = Dialect(
    name="syncano",
    prefixes=("/v1.1/", "/v1/"),
    urlconf="channels_app.dialects.syncano.urls",
    routing="channels_app.dialects.syncano.routing.routes",
    max_body=lambda: conf.SYNCANO_MAX_BODY,
    too_large=too_large,
    express="channels_app.dialects.syncano.express.PUBLISH_ROUTE",
)
