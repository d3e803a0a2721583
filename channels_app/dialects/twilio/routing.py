"""The ASGI routes of live delivery: Twilsock's WebSocket."""

from django.urls import URLPattern, re_path

from .realtime.consumer import twilsock


def routes() -> list[URLPattern]:
    return [re_path(r"^v3/wsconnect$", twilsock)]  # type: ignore[arg-type]  # Channels puts ASGI applications into patterns
