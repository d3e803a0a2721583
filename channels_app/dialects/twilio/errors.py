"""From the core's errors (and the frameworks') to this wire: one table, total (wire/twilio.md §1, §6)."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from rest_framework import exceptions
from rest_framework.response import Response

from channels_app.core import errors
from channels_app.core.errors import PubSubError

logger = logging.getLogger(__name__)

Rendered = tuple[int, dict[str, object], dict[str, str]]

MORE_INFO = "https://www.twilio.com/docs/errors/"
MISSING_PARAMETER, UNAUTHORIZED, NO_METHOD, NOT_FOUND = 20001, 20003, 20004, 20404
SERVER_ERROR, UNAVAILABLE = 20500, 20503
TOO_LARGE, FORBIDDEN, RATE, NAME_TAKEN = 54006, 54007, 54009, 54301
CHALLENGE = {"WWW-Authenticate": 'Basic realm="Twilio API"'}


class TwilioError(PubSubError):
    """What only this wire knows: with its own status and code."""

    code = "twilio"

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.number = status, code
        super().__init__(message)


def body_of(status: int, code: int, message: str) -> dict[str, object]:
    """Never with a `type` and a `title`: the helpers would take it for something else."""
    return {"code": code, "message": message, "more_info": f"{MORE_INFO}{code}", "status": status}


def not_found(path: str = "") -> str:
    """The path in it is how people find the hole in it. Without the version, as Twilio has it."""
    return (
        f"The requested resource {path.removeprefix('/v1')} was not found" if path else "The requested resource was not found"
    )


# The table


def _as(status: int, code: int) -> Callable[[Any], Rendered]:
    return lambda error: (status, body_of(status, code, error.message), {})


def _invalid_key(error: errors.InvalidKey) -> Rendered:
    message = "Authenticate" if error.message == errors.InvalidKey.message else error.message
    return 401, body_of(401, UNAUTHORIZED, message), CHALLENGE


def _later(status: int, code: int) -> Callable[[Any], Rendered]:
    return lambda error: (status, body_of(status, code, error.message), {"Retry-After": str(error.retry_after)})


TABLE: Mapping[type[PubSubError], Callable[[Any], Rendered]] = {
    TwilioError: lambda error: (error.status, body_of(error.status, error.number, error.message), {}),
    errors.NotFound: lambda error: (404, body_of(404, NOT_FOUND, not_found()), {}),
    errors.InvalidKey: _invalid_key,
    errors.PermissionDenied: _as(403, FORBIDDEN),
    errors.PublishDisabled: _as(403, FORBIDDEN),
    errors.Invalid: _as(400, MISSING_PARAMETER),
    errors.Conflict: lambda error: (409, body_of(409, NAME_TAKEN, "Unique name already exists"), {}),
    errors.QuotaExceeded: _as(400, MISSING_PARAMETER),
    errors.Throttled: _later(429, RATE),
    errors.StoreUnavailable: _later(503, UNAVAILABLE),
    errors.StoreFull: _later(503, UNAVAILABLE),
}


def render(error: PubSubError, path: str = "") -> Rendered:
    """Status, body and extra headers of the answer to a request of that path which failed so."""
    if type(error) is errors.NotFound:
        return 404, body_of(404, NOT_FOUND, not_found(path)), {}
    return TABLE[type(error)](error)


# Django REST framework


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """The answer to a request whose view raised, whatever it was: this wire has no page of Django's or DRF's."""
    status, body, headers = _rendered(error, context["request"].path)
    return Response(body, status=status, headers=headers)


def _rendered(error: Exception, path: str) -> Rendered:
    if isinstance(error, OperationalError | InterfaceError):
        return render(errors.StoreUnavailable())
    if isinstance(error, ObjectDoesNotExist):  # it went between a look and the next
        return render(errors.NotFound(), path)
    if isinstance(error, PubSubError):
        return render(error, path)
    if isinstance(error, exceptions.MethodNotAllowed):
        return 405, body_of(405, NO_METHOD, "Method not supported on this resource"), {}
    if isinstance(error, SuspiciousOperation | exceptions.ParseError):  # more fields than Django takes, a host it does not know
        return 400, body_of(400, MISSING_PARAMETER, str(error)), {}
    logger.error("A request of Twilio's API failed", exc_info=error)
    return 500, body_of(500, SERVER_ERROR, "Internal server error"), {}
