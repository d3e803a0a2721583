"""Every dialect answers every error of the core: its table is total (DESIGN.md §7)."""

import pytest

from channels_app.core import errors
from channels_app.core.errors import ALL_ERRORS, PubSubError
from channels_app.dialects.syncano import errors as syncano

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


def test_the_syncano_table_is_total() -> None:
    of_the_dialect = {each for each in subclasses(PubSubError) if each.__module__ == syncano.__name__}
    assert set(syncano.TABLE) == set(ALL_ERRORS) | of_the_dialect


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
