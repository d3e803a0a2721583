"""The ASGI routes of live delivery; what they do not take goes on to Django (`urls.py`)."""

from django.urls import URLPattern, re_path

from .consumers import poll

POLL = r"^(?P<version>v1|v1\.1)/instances/(?P<instance>[^/]+)/channels/(?P<channel>[^/]+)/poll/$"


def routes() -> list[URLPattern]:
    return [re_path(POLL, poll)]  # type: ignore[arg-type]  # Channels puts ASGI applications into patterns
