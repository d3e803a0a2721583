"""Bad input on the real server: no 5xx, no traceback, no half-made row, no burnt id, whatever is sent.

`make test` sends a short form, the same each time; `PUBSUB_TORTURE=1` the full 10,000, others each time.
"""

import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from .deployment import Template, channel_path
from .hostile_frames import TEXT, UPGRADE, conversations, frame, handshakes
from .hostile_requests import Attempt, attempts
from .hostile_target import NO_HTTP, Target, is_wire_error
from .hostile_values import LIMIT, padded

TORTURE = bool(os.environ.get("PUBSUB_TORTURE"))
WATCHED = "demo-instance"
POLL = f"{channel_path(WATCHED, 'lobby')}poll/"
LIFTED = {
    "PUBSUB_ANONYMOUS_RATE": "",
    "PUBSUB_FAILED_POLL_RATE": "",
    "PUBSUB_POLL_WAIT": "0.02",
    "PUBSUB_MAX_INSTANCES": "100000",
    "PUBSUB_RETENTION_INTERVAL": "3600",
}
NOISY = {
    b"\x16\x03\x01 this is TLS\r\n\r\n": 400,
    b"GET /v1.1/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n": 200,
    b"GET /admin/ HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n": 400,
}


def examples(full: int, short: int) -> settings:
    return settings(
        max_examples=full if TORTURE else short,
        derandomize=not TORTURE,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def target(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    assert template.credentials["instance"] == WATCHED
    deployment = template.deploy(tmp_path_factory.mktemp("hostile"))
    server = deployment.start(**LIFTED)
    target = Target.prepare(deployment, server, template.credentials)
    yield target
    server.terminate()
    print(target.report())


@pytest.mark.timeout(1_800 if TORTURE else 120)
def test_no_request_breaks_the_server(target: Target) -> None:
    @examples(full=7_500, short=1_100)
    @given(attempt=attempts(WATCHED))
    def send(attempt: Attempt) -> None:
        note(repr(attempt))
        answer = target.attempt(attempt)
        if answer is None:
            assert not attempt.must_be_answered
            return
        assert answer.status < 500, answer
        is_ours = attempt.path.startswith("/v1.1/") and answer.body != NO_HTTP and attempt.method != "HEAD"
        if answer.status >= 400 and is_ours:
            assert is_wire_error(answer), answer
        assert "Traceback" not in target.new_log()

    send()
    target.check_unharmed()
    print(target.report())


@pytest.mark.timeout(1_800 if TORTURE else 120)
def test_no_frame_breaks_the_server(target: Target) -> None:
    key = target.keys["api"].encode()

    @examples(full=2_000, short=300)
    @given(handshake=handshakes(), frames=conversations)
    def converse(handshake: tuple[bytes, list[tuple[bytes, bytes]]], frames: bytes) -> None:
        query, headers = handshake
        received = target.converse(POLL, query, [*headers, (b"X-API-KEY", key)], frames)
        assert not received.startswith(b"HTTP/1.1 5")
        assert "Traceback" not in target.new_log()

    converse()
    target.check_unharmed()
    print(target.report())


@pytest.mark.timeout(1_800 if TORTURE else 120)
def test_no_bytes_break_the_server(target: Target) -> None:
    starts = st.sampled_from(
        [b"", b"GET / HTTP/1.1\r\n", b"GET /v1.1/ HTTP/1.1\r\nHost: a\r\n", b"POST /v1.1/ HTTP/9.9\r\n", b"PRI * HTTP/2.0"]
    )

    @examples(full=500, short=100)
    @given(start=starts, junk=st.binary(max_size=200))
    def send(start: bytes, junk: bytes) -> None:
        target.sent["junk"] += 1
        answer = target.exchange(start + junk, hang_up=True)
        target.statuses[str(answer.status) if answer else "no answer"] += 1
        assert answer is None or answer.status < 500
        assert "Traceback" not in target.new_log()

    send()
    target.check_unharmed()


def test_a_client_cannot_fill_the_log(target: Target) -> None:
    upgrade = [*UPGRADE.items(), (b"X-API-KEY", target.keys["api"].encode())]
    target.new_log()
    for _ in range(3):
        closing = target.converse(POLL, b"transport=websocket", upgrade, frame(TEXT, b"\xff"))
        assert closing.endswith(b"\x88\x02\x03\xef"), "a close frame with 1007, as RFC 6455 has it"
        assert target.converse("/v3/nowhere", b"", upgrade, b"").startswith(b"HTTP/1.1 404 ")
        for request, status in NOISY.items():
            answer = target.exchange(request)
            assert answer is not None
            assert answer.status == status
    new = target.new_log()
    assert "Traceback" not in new
    assert len(new.splitlines()) <= 1 + len(NOISY), "each kind at most once"


@pytest.mark.parametrize("headers", [[(b"X-Long", b"x" * 10_000)], [(b"X-Many", b"x")] * 300], ids=["long", "many"])
def test_a_handshake_that_cannot_be_read_is_ended(target: Target, headers: list[tuple[bytes, bytes]]) -> None:
    ended = target.converse(POLL, b"transport=websocket", [*UPGRADE.items(), *headers], b"")
    assert ended.startswith(b"HTTP/1.1 431") or not ended, "before websockets 17, without a word"


def test_a_session_that_cannot_be_is_none(target: Target) -> None:
    quoted = b'sessionid="aaaaaaaa\\000"'  # how a cookie spells a NUL
    answer = target.exchange(b"GET /admin/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nCookie: %b\r\n\r\n" % quoted)
    assert answer is not None
    assert answer.status == 302
    assert "Traceback" not in target.new_log()


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 201), (LIMIT + 1, 413), (50 * LIMIT, 413)])
def test_a_body_over_the_limit_is_refused_however_it_comes(target: Target, framing: str, size: int, status: int) -> None:
    publish = f"{channel_path(WATCHED, 'lobby')}publish/"
    json_type = ((b"Content-Type", b"application/json"),)
    answer = target.attempt(Attempt("POST", publish, "api", headers=json_type, body=padded(size), framing=framing))
    assert answer is not None
    assert answer.status == status
    if status == 413:
        assert json.loads(answer.body) == {"detail": f"Request size limit exceeded ({LIMIT})."}


def test_a_body_is_refused_before_it_is_sent(target: Target) -> None:
    head = f"POST {channel_path(WATCHED, 'lobby')}publish/ HTTP/1.1\r\nHost: a\r\nContent-Length: {10**12}\r\n\r\n"
    answer = target.exchange(head.encode())
    assert answer is not None
    assert answer.status == 413


def test_after_all_that_nothing_is_half_made(target: Target) -> None:
    target.check_unharmed()
