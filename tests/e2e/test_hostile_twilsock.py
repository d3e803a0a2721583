"""Bad frames on the real server's Twilsock: no 5xx, no traceback, nothing half made, whatever is sent (wire/twilio.md §8)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.jwt.access_token import AccessToken
from twilio.jwt.access_token.grants import SyncGrant

from channels_app.dialects.twilio.realtime.frames import encode

from .deployment import Template
from .hostile_frames import BINARY, UPGRADE, conversations, frame
from .hostile_target import Target
from .hostile_values import texts
from .test_hostile import LIFTED, TORTURE, examples

PATH = "/v3/wsconnect"

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
paths = st.sampled_from(
    [
        "/v3/Streams",
        "/v3/Streams/heatmap",
        "/v3/Streams/heatmap/Messages",
        "/v3/Streams/%00",
        "/v3/Streams/%ff%fe",
        "/v3/Maps/x",
        "/v4/Subscriptions",
        "/../admin/",
    ]
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "unique_name": values,
        "ttl": values,
        "data": values,
        "action": st.sampled_from(["establish", "cancel", "", None]) | values,
        "correlation_id": values,
        "requests": st.lists(
            st.fixed_dictionaries({"object_sid": st.just("TO1") | values, "object_type": st.just("stream") | values}),
            max_size=3,
        )
        | values,
    },
)
requests = st.fixed_dictionaries(
    {"host": st.just("cds.us1.twilio.com") | values, "path": paths | values},
    optional={
        "method": st.sampled_from(["GET", "POST", "DELETE", "PUT", "", "TRACE"]) | values,
        "headers": st.fixed_dictionaries({"Twilio-Request-Id": values}) | values,
        "params": values,
    },
)
methods = st.sampled_from(["message", "message", "message", "reply", "update", "init", "close", "notification", "telemetry.v1"])
headers = st.fixed_dictionaries(
    {"method": methods | texts, "id": st.just("TM1") | st.just("TO1.7") | texts},
    optional={"http_request": requests | values, "token": values, "continuation_token": values, "status": values},
)
payloads = st.one_of(bodies, values).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
packets = st.builds(encode, headers, payloads) | st.binary(max_size=80).map(lambda tail: b"TWILSOCK V3.0 " + tail)
END = frame(BINARY, encode({"method": "telemetry.v1", "id": "THE-END"}))
talks = st.lists(packets.map(lambda packet: frame(BINARY, packet)), max_size=6).map(b"".join)


@pytest.fixture(scope="module")
def target(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    deployment = template.deploy(tmp_path_factory.mktemp("hostile-twilsock"))
    server = deployment.start(**LIFTED)
    target = Target.prepare(deployment, server, template.credentials)
    yield target
    server.terminate()
    print(target.report())


@pytest.fixture(scope="module")
def init(template: Template) -> bytes:
    """The frame with which a client says who it is."""
    twilio: dict[str, str] = template.credentials["twilio"]  # type: ignore[assignment]
    token = AccessToken(twilio["account_sid"], twilio["api_key_sid"], twilio["api_key_secret"], identity="ciri")
    token.add_grant(SyncGrant(service_sid=twilio["service_sid"]))
    return frame(BINARY, encode({"method": "init", "id": "TM0", "token": token.to_jwt()}))


def is_over(received: bytes) -> bool:
    """Whether the server has answered the last frame, or closes the WebSocket."""
    return b"THE-END" in received or b"\x88" in received


@pytest.mark.timeout(1_800 if TORTURE else 120)
def test_no_twilsock_frame_breaks_the_server(target: Target, init: bytes) -> None:
    @examples(full=3_000, short=250)
    @given(frames=talks)
    def talk(frames: bytes) -> None:
        received = target.converse(PATH, b"", list(UPGRADE.items()), init + frames + END, is_over)
        assert b'"continuation_token"' in received
        assert b'"code":500' not in received
        assert "Traceback" not in target.new_log()

    talk()
    target.check_unharmed()


@pytest.mark.timeout(1_800 if TORTURE else 120)
def test_no_websocket_frame_breaks_twilsock(target: Target) -> None:
    @examples(full=1_000, short=60)
    @given(frames=st.one_of(conversations, talks))
    def converse(frames: bytes) -> None:
        received = target.converse(PATH, b"", list(UPGRADE.items()), frames)
        assert received.startswith(b"HTTP/1.1 101"), received
        assert "Traceback" not in target.new_log()

    converse()
    target.check_unharmed()
