"""Every dialect answers every error of the core: its table is total (DESIGN.md §7)."""

from types import ModuleType

import pytest
from django.test import RequestFactory
from rest_framework.request import Request

from channels_app.core import errors
from channels_app.core.errors import ALL_ERRORS, PubSubError
from channels_app.dialects.syncano import errors as syncano
from channels_app.dialects.twilio import errors as twilio
from channels_app.models import Instance

EXAMPLES: dict[type[PubSubError], PubSubError] = {
    errors.NotFound: errors.NotFound("message"),
    errors.Invalid: errors.Invalid({"room": ["Not a valid string."]}),
    errors.Throttled: errors.Throttled(3),
}


def subclasses(of: type[PubSubError]) -> set[type[PubSubError]]:
    return {each for direct in of.__subclasses__() for each in {direct, *subclasses(direct)}}


def test_the_list_of_the_core_is_closed() -> None:
    in_core = {each for each in subclasses(PubSubError) if each.__module__ == errors.__name__}
    assert set(ALL_ERRORS) == in_core


@pytest.mark.parametrize("dialect", [syncano, twilio], ids=lambda module: module.__name__.split(".")[-2])
def test_the_table_of_each_dialect_is_total(dialect: ModuleType) -> None:
    of_the_dialect = {each for each in subclasses(PubSubError) if each.__module__ == dialect.__name__}
    assert set(dialect.TABLE) == set(ALL_ERRORS) | of_the_dialect


@pytest.mark.parametrize("dialect", [syncano, twilio], ids=lambda module: module.__name__.split(".")[-2])
def test_a_row_that_went_while_a_view_looked_for_it_is_not_found(dialect: ModuleType) -> None:
    request = Request(RequestFactory().get("/"))
    assert dialect.exception_handler(Instance.DoesNotExist(), {"request": request}).status_code == 404


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.code)
def test_every_error_of_the_core_has_a_syncano_answer(kind: type[PubSubError]) -> None:
    error = EXAMPLES.get(kind) or kind()
    status, body, headers = syncano.render(error)
    assert 400 <= status < 600
    assert body
    assert all(isinstance(value, str | list) for value in body.values())  # both SDKs fail on anything else
    assert ("Retry-After" in headers) is error.retryable


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (errors.NotFound("instance"), (404, {"detail": "Instance was not found."}, {})),
        (errors.NotFound("channel"), (404, {"detail": "Not found."}, {})),
        (errors.NotFound("channel", "Channel was not found."), (404, {"detail": "Channel was not found."}, {})),
        (errors.InvalidKey(), (403, {"detail": "No such API Key."}, {})),
        (
            errors.Throttled(1),
            (429, {"detail": "Request was throttled. Expected available in 1 second."}, {"Retry-After": "1"}),
        ),
        (
            errors.Throttled(5),
            (429, {"detail": "Request was throttled. Expected available in 5 seconds."}, {"Retry-After": "5"}),
        ),
        (syncano.ParseError("x"), (400, {"detail": "JSON parse error - x"}, {})),
        (syncano.RoomRequired(), (400, {"room": "This field is required for channels with separate rooms."}, {})),
        (syncano.LoginFailed("Invalid email."), (401, {"detail": "Invalid email."}, {})),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, PubSubError) else "",
)
def test_syncano_words(error: PubSubError, answer: tuple[int, dict[str, object], dict[str, str]]) -> None:
    assert syncano.render(error) == answer


@pytest.mark.parametrize("kind", ALL_ERRORS, ids=lambda kind: kind.code)
def test_every_error_of_the_core_has_a_twilio_answer(kind: type[PubSubError]) -> None:
    status, body, headers = twilio.render(EXAMPLES.get(kind) or kind())
    assert list(body) == ["code", "message", "more_info", "status"]
    assert body["status"] == status
    assert 400 <= status < 600
    assert ("Retry-After" in headers) is kind.retryable


def test_twilio_words() -> None:
    more_info = "https://www.twilio.com/docs/errors/20404"
    missing = {
        "code": 20404,
        "message": "The requested resource /Services/x was not found",
        "more_info": more_info,
        "status": 404,
    }
    assert twilio.render(errors.NotFound("instance"), "/v1/Services/x") == (404, missing, {})
    status, body, headers = twilio.render(errors.InvalidKey())
    assert (status, body["code"], body["message"], headers) == (
        401,
        20003,
        "Authenticate",
        {"WWW-Authenticate": 'Basic realm="Twilio API"'},
    )
    assert twilio.render(twilio.TwilioError(400, 54011, "Invalid TTL"))[1]["code"] == 54011
