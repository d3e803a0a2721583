"""Django's page middleware, kept off the dialects' paths: API requests bring keys, not cookies, and half of a request's
time would go into sessions nobody has. Subclasses, so that the admin's checks find what they look for; the two checks of
`check --deploy` that look for names only are silenced in the settings."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.template import loader
from django.utils.deprecation import MiddlewareMixin
from django.utils.log import log_response

from channels_app.core.errors import NotFound, QuotaExceeded, StoreUnavailable
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


class PageErrorMiddleware(PagesOnly):
    """What is no defect of a page has a page of its own. Dialects have their own errors."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if dialect_of_path(request.path_info) is not None:
            return None
        if isinstance(error, NotFound):  # it went between a look and the next
            raise Http404
        if isinstance(error, QuotaExceeded):
            raise PermissionDenied
        if isinstance(error, OperationalError | InterfaceError):
            return self._without_database(request, error)
        return None

    def _without_database(self, request: HttpRequest, error: Exception) -> HttpResponse:
        """A short 503, and one line in the log."""
        content = loader.render_to_string("503.html")  # without a request, whose user would have to be looked up
        response = HttpResponse(content, status=503, headers={"Retry-After": str(StoreUnavailable.retry_after)})
        reason = " ".join(str(error).split())
        log_response("No database for %s: %s", request.path, reason, response=response, request=request)  # else Django does
        return response
