"""Syncano v1.1 as the server's registry sees it (wire/syncano.md)."""

import json
from typing import Any

from channels_app.conf import conf
from channels_app.dialects.base import Dialect, Response


def too_large(scope: dict[str, Any], limit: int) -> Response:
    body = json.dumps({"detail": f"Request size limit exceeded ({limit})."}).encode()
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # the body is not read: the connection cannot carry another request
    ]
    if any(name == b"origin" for name, _ in scope["headers"]):
        headers.append((b"access-control-allow-origin", b"*"))
    return Response(413, headers, body)


SYNCANO = Dialect(
    name="syncano",
    prefixes=("/v1.1/", "/v1/"),
    urlconf="channels_app.dialects.syncano.urls",
    routing="channels_app.dialects.syncano.routing.routes",
    max_body=lambda: conf.SYNCANO_MAX_BODY,
    too_large=too_large,
)
