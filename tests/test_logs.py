"""What reaches the log: no secret, and of clients' mistakes a line a minute (channels_app/server/logs.py)."""

import logging

import pytest

from channels_app.server.logs import ClientMistakes, RedactSecrets

KEY = "0123456789abcdef0123456789abcdef01234567"


def record(name: str, message: str, *args: object) -> logging.LogRecord:
    error = ValueError("x")
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, (ValueError, error, None))


@pytest.mark.parametrize("line", [f"GET /?api_key={KEY}", f"user_key={KEY}&x", f"the key {KEY} is unknown"])
def test_a_key_in_a_line_is_cut_to_its_first_digits(line: str) -> None:
    seen = record("anything", "%s", line)
    assert RedactSecrets().filter(seen)
    assert KEY not in seen.getMessage()
    assert KEY[:8] in seen.getMessage()


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
