"""From the core's errors (and the frameworks') to this wire: one table, total (wire/syncano.md §1)."""

from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.core import errors
from channels_app.core.errors import PubSubError

Rendered = tuple[int, dict[str, object], dict[str, str]]


# What only this wire knows


class ParseError(errors.Invalid):
    """The body is no JSON; `reason` is the parser's own text."""

    def __init__(self, reason: str) -> None:
        super().__init__({"detail": [f"JSON parse error - {reason}"]})


class RoomRequired(errors.Invalid):
    """A "business" error: its text stands as a string where a field's other errors are a list."""

    def __init__(self) -> None:
        super().__init__({"room": ["This field is required for channels with separate rooms."]})


class LoginFailed(PubSubError):
    """Raised by the two login calls only: everything else answers 403."""

    code = "login_failed"


# The table


def _detail(status: int) -> Callable[[Any], Rendered]:
    return lambda error: (status, {"detail": error.message}, {})


def _not_found(error: errors.NotFound) -> Rendered:
    return 404, {"detail": "Instance was not found." if error.kind == "instance" else error.message}, {}


def _fields(error: errors.Invalid) -> Rendered:
    return 400, dict(error.fields), {}


def _first_messages(error: errors.Invalid) -> Rendered:
    return 400, {name: messages[0] for name, messages in error.fields.items()}, {}


def _throttled(error: errors.Throttled) -> Rendered:
    seconds = f"{error.retry_after} second{'' if error.retry_after == 1 else 's'}"
    detail = f"Request was throttled. Expected available in {seconds}."
    return 429, {"detail": detail}, {"Retry-After": str(error.retry_after)}


def _unavailable(status: int) -> Callable[[Any], Rendered]:
    return lambda error: (status, {"detail": error.message}, {"Retry-After": str(error.retry_after)})


TABLE: Mapping[type[PubSubError], Callable[[Any], Rendered]] = {
    errors.NotFound: _not_found,
    errors.InvalidKey: _detail(403),
    errors.PermissionDenied: _detail(403),
    errors.PublishDisabled: _detail(403),
    errors.Invalid: _fields,
    ParseError: _first_messages,
    RoomRequired: _first_messages,
    errors.Conflict: _detail(409),
    errors.QuotaExceeded: _detail(400),
    errors.Throttled: _throttled,
    errors.StoreUnavailable: _unavailable(503),
    errors.StoreFull: _unavailable(507),
    LoginFailed: _detail(401),
}


def render(error: PubSubError) -> Rendered:
    """Status, body and extra headers of the answer to a request that failed so."""
    return TABLE[type(error)](error)


# Django REST framework


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """The answer to a request whose view raised; None for what is no answer but a defect.

    A body that cannot be parsed wins over every other reason to refuse it.
    """
    request: Request = context["request"]
    rendered = _rendered(error)
    if rendered is not None and rendered[0] < 500:
        rendered = _parse_error(request) or rendered
    if rendered is None:
        return None
    status, body, headers = rendered
    return Response(body, status=status, headers=headers)


def _rendered(error: Exception) -> Rendered | None:
    if isinstance(error, OperationalError | InterfaceError):
        return render(errors.StoreUnavailable())
    if isinstance(error, IntegrityError):  # something it refers to went at the same moment
        return render(errors.Conflict())
    if isinstance(error, ObjectDoesNotExist):  # it went between a look and the next
        return render(errors.NotFound())
    if isinstance(error, PubSubError):
        return render(error)
    if isinstance(error, exceptions.APIException):
        return error.status_code, dict(error.detail) if isinstance(error.detail, dict) else {"detail": error.detail}, {}
    if isinstance(error, SuspiciousOperation):  # more form fields than Django takes
        return 400, {"detail": str(error)}, {}
    return None


def _parse_error(request: Request) -> Rendered | None:
    if request.method not in ("POST", "PUT", "PATCH"):
        return None
    try:
        request.data  # noqa: B018  (parses at first use)
    except (ParseError, exceptions.ParseError) as error:
        return _rendered(error)
    except (exceptions.UnsupportedMediaType, SuspiciousOperation):
        return None
    return None
