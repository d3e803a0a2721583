"""Django's page middleware, kept off the dialects' paths: API requests bring keys, not cookies, and half of a request's
time would go into sessions nobody has. Subclasses, so that the admin's checks find what they look for; the two checks of
`check --deploy` that look for names only are silenced in the settings."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.deprecation import MiddlewareMixin

from channels_app.dialects.base import dialect_of_path


class PagesOnly(MiddlewareMixin):
    """Mixed in first: a dialect's request goes straight on to the next in the chain."""

    get_response: Callable[[HttpRequest], Any]

    def __call__(self, request: HttpRequest) -> Any:
        if dialect_of_path(request.path_info) is not None:
            return self.get_response(request)
        return super().__call__(request)


class PageSessionMiddleware(PagesOnly, SessionMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        if "\x00" in request.COOKIES.get(settings.SESSION_COOKIE_NAME, ""):
            del request.COOKIES[settings.SESSION_COOKIE_NAME]  # Django would ask PostgreSQL for it, which takes no NUL
        super().process_request(request)


class PageCommonMiddleware(PagesOnly, CommonMiddleware):
    pass


class PageCsrfViewMiddleware(PagesOnly, CsrfViewMiddleware):
    def process_view(self, request: HttpRequest, *args: Any) -> Any:
        if dialect_of_path(request.path_info) is None:
            return super().process_view(request, *args)
        return None


class PageAuthenticationMiddleware(PagesOnly, AuthenticationMiddleware):
    pass


class PageMessageMiddleware(PagesOnly, MessageMiddleware):
    pass


class PageXFrameOptionsMiddleware(PagesOnly, XFrameOptionsMiddleware):
    pass
