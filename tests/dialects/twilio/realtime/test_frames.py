"""Twilsock's frames: what is encoded is decoded, and nothing else is taken for a frame (wire/twilio.md §8)."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_app.dialects.twilio.realtime.frames import MAX_FRAME, FrameError, decode, encode

INIT = {"method": "init", "id": "TM1", "token": "x"}
names = st.text(min_size=1, max_size=20)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def framed(header: bytes, payload: bytes = b"", size: int | None = None) -> bytes:
    return b"TWILSOCK V3.0 %d\r\n%b\r\n%b" % (len(header) if size is None else size, header, payload)


def test_the_frame_that_the_sdk_sends_is_read() -> None:
    frame = decode(b'TWILSOCK V3.0 49\r\n{"method":"message","id":"TM1","payload_size":7}\n\r\n{"a":1}')
    assert (frame.method, frame.id, frame.payload) == ("message", "TM1", b'{"a":1}')


def test_a_frame_without_a_payload_may_leave_out_what_follows_the_header() -> None:
    header = json.dumps(INIT).encode()
    assert decode(framed(header)) == decode(framed(header)[:-2])


def test_the_size_counts_bytes_not_characters() -> None:
    frame = encode({"method": "reply", "id": "TM1"}, '"ż"'.encode())
    assert frame.startswith(b"TWILSOCK V3.0 80\r\n")
    assert decode(frame).header["payload_size"] == 4
    assert decode(encode(INIT, '"ż"'.encode())).payload == '"ż"'.encode()


@given(header=st.dictionaries(names, json_values), payload=json_values)
def test_what_is_encoded_is_decoded(header: dict[str, Any], payload: Any) -> None:
    text = json.dumps(payload).encode()
    frame = decode(encode({**header, **INIT}, text))
    sent = {name: value for name, value in header.items() if name not in ("payload_size", "payload_type")}
    assert {**sent, **INIT}.items() <= frame.header.items()
    assert frame.payload == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"TWILSOCK V3.0",
        b"TWILSOCK V2.0 2\r\n{}\r\n",
        b"twilsock V3.0 2\r\n{}\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        framed(b"{}"),
        framed(b"[]"),
        framed(b"null"),
        framed(b"\xff\xfe"),
        framed(b'{"method":"init"'),
        framed(b'{"method":"init"}'),
        framed(b'{"method":1,"id":"TM1"}'),
        framed(b'{"method":"init","id":7}'),
        framed(b'{"method":"init","id":""}'),
        framed(b'{"method":"init","id":"%b"}' % (b"x" * 129)),
        framed(b'{"method":"init","id":"TM1","n":NaN}'),
        framed(b'{"method":"init","id":"\\ud800"}'),
        framed(b'{"a":' * 6_000),
        framed(json.dumps(INIT).encode(), size=7),
        framed(json.dumps(INIT).encode(), size=999),
        framed(json.dumps(INIT).encode(), b"unannounced"),
        b"TWILSOCK V3.0 -1\r\n{}\r\n",
        b"TWILSOCK V3.0 99999999999999999999\r\n{}\r\n",
        "TWILSOCK V3.0 ٣\r\n{}\r\n".encode(),
        framed(json.dumps({**INIT, "payload_size": 3}).encode(), b"ab"),
        framed(json.dumps({**INIT, "payload_size": -1}).encode(), b""),
        framed(json.dumps({**INIT, "payload_size": True}).encode(), b"1"),
        framed(json.dumps({**INIT, "payload_size": "2"}).encode(), b"ab"),
        framed(json.dumps({**INIT, "padding": "x" * MAX_FRAME}).encode()),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode(data)


@given(data=st.binary(max_size=60).map(lambda tail: b"TWILSOCK V3.0 " + tail) | st.binary(max_size=80))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode(data)


@given(at=st.integers(0, 120), byte=st.integers(0, 255))
def test_a_damaged_frame_is_refused_or_read_whole(at: int, byte: int) -> None:
    frame = bytearray(encode(INIT, b'{"a":1}'))
    frame[at % len(frame)] = byte
    with contextlib.suppress(FrameError):
        assert len(decode(bytes(frame)).payload) in (0, 7)
