"""What reaches the log: no secret, and of clients' mistakes a line a minute (channels_app/server/logs.py)."""

import json
import logging

import pytest

from channels_app.server.logs import ClientMistakes, RedactedJson, RedactedLine

KEY = "0123456789abcdef0123456789abcdef01234567"


def record(name: str, message: str, *args: object) -> logging.LogRecord:
    error = ValueError("x")
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, (ValueError, error, None))


@pytest.mark.parametrize("formatter", [RedactedLine(), RedactedJson()])
@pytest.mark.parametrize("line", [f"GET /?api_key={KEY}", f"user_key={KEY}&x", f"the key {KEY} is unknown"])
def test_a_key_in_a_line_is_cut_to_its_first_digits(line: str, formatter: logging.Formatter) -> None:
    seen = formatter.format(record("anything", "%s", line))
    assert KEY[:8] in seen
    assert KEY[:9] not in seen


@pytest.mark.parametrize("formatter", [RedactedLine(), RedactedJson()])
def test_nothing_is_left_of_a_password(formatter: logging.Formatter) -> None:
    assert "hunter" not in formatter.format(record("anything", "GET /?password=hunter2&token=hunter3"))


@pytest.mark.parametrize("formatter", [RedactedLine(), RedactedJson()])
def test_a_key_in_a_traceback_is_cut_too(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(f"api_key={KEY}")
    except ValueError as error:
        failed = logging.LogRecord("any", logging.ERROR, __file__, 1, "failed", (), (ValueError, error, error.__traceback__))
    seen = formatter.format(failed)
    assert "Traceback" in seen
    assert KEY[:9] not in seen


def test_a_line_of_json_has_the_message_and_what_came_with_it() -> None:
    seen = record("channels_app.core.hub", 'Closed "%s"\nand more', "a")
    seen.exc_info = None
    vars(seen).update({"code": 4003, "channel": "lobby", "key": f"api_key={KEY}", "color_message": "\033[1m"})
    line = RedactedJson().format(seen)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "ERROR",
        "logger": "channels_app.core.hub",
        "message": 'Closed "a"\nand more',
        "code": 4003,
        "channel": "lobby",
        "key": f"api_key={KEY[:8]}…",
    }


def test_an_extra_cannot_replace_the_message() -> None:
    seen = record("any", "true")
    vars(seen).update({"level": "false", "logger": "false"})
    entry = json.loads(RedactedJson().format(seen))
    assert (entry["level"], entry["logger"]) == ("ERROR", "any")


def test_a_mistake_of_clients_is_told_once_and_without_a_traceback() -> None:
    mistakes = ClientMistakes()
    first = record("django.security.DisallowedHost", "Invalid HTTP_HOST header: %r.", "a")
    assert mistakes.filter(first)
    assert first.exc_info is None
    assert first.levelname == "WARNING"
    assert not mistakes.filter(record("django.security.DisallowedHost", "Invalid HTTP_HOST header: %r.", "b"))
    assert mistakes.filter(record("uvicorn.error", "Invalid UTF-8 sequence received from client.")), "another kind"
    assert not mistakes.filter(record("uvicorn.error", "Invalid UTF-8 sequence received from client."))


def test_it_is_told_again_after_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientMistakes, "PAUSE_SECONDS", 0)
    mistakes = ClientMistakes()
    assert mistakes.filter(record("uvicorn.error", "Invalid HTTP request received."))
    assert mistakes.filter(record("uvicorn.error", "Invalid HTTP request received."))


def test_what_went_wrong_in_the_server_keeps_its_traceback_each_time() -> None:
    mistakes = ClientMistakes()
    for _ in range(2):
        failed = record("uvicorn.error", "Exception in ASGI application\n")
        assert mistakes.filter(failed)
        assert failed.exc_info
