"""The pure functions that every front of this wire stands on."""

import contextlib
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_app.core.directory import ChannelInfo
from channels_app.core.errors import Invalid
from channels_app.core.types import Message, Receipt
from channels_app.dialects.syncano.encoding import message_json, poll_json, receipt_json, timestamp
from channels_app.dialects.syncano.errors import ParseError, RoomRequired
from channels_app.dialects.syncano.parsing import (
    PollRequest,
    integer,
    parse_json,
    parse_poll,
    parse_publish,
)

LOBBY = ChannelInfo(1, UUID(int=1), 1, "rivia", "lobby", False, True, None, "none", "none")
ROOMS = ChannelInfo(2, UUID(int=2), 1, "rivia", "rooms", True, True, None, "none", "none")

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children) | st.dictionaries(texts, children),
    max_leaves=8,
)


@given(values)
def test_what_is_json_is_read_as_it_is(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(ParseError):
        json.dumps(parse_json(body), ensure_ascii=False, allow_nan=False).encode()


def test_a_number_that_is_too_long_is_refused_in_words_for_who_sent_it() -> None:
    assert parse_json(b"9" * 4_300) == int("9" * 4_300)
    with pytest.raises(ParseError) as refused:
        parse_json(b"9" * 6_000)
    assert str(refused.value) == "detail: JSON parse error - Number of more than 4300 digits"


@given(st.dictionaries(texts, values))
def test_a_payload_reaches_readers_unchanged_whichever_way_it_is_sent(payload: dict[str, Any]) -> None:
    _, direct = parse_publish({"payload": payload}, LOBBY)
    _, in_a_string = parse_publish({"payload": json.dumps(payload)}, LOBBY)
    assert json.loads(direct) == json.loads(in_a_string) == payload


@given(st.dictionaries(st.sampled_from(["payload", "room", "x"]), values) | values)
def test_any_body_is_a_publish_or_invalid(body: Any) -> None:
    for channel in (LOBBY, ROOMS):
        with contextlib.suppress(Invalid):
            room, payload = parse_publish(body, channel)
            assert isinstance(json.loads(payload), dict)
            assert (room != "") is channel.separate_rooms
            assert room == room.strip().lower()
            assert len(room) <= 128


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        (" 7 ", 7),
        ("0007", 7),
        ("", None),
        ("7.0", None),
        ("1_0", None),
        ("٣", None),
        ("x", None),
    ],
)
def test_integers_are_spelled_in_digits(text: str, number: int | None) -> None:
    assert integer(text) == number


@pytest.mark.parametrize(("text", "number"), [("9" * 30, 2**63 - 1), ("9" * 9000, 2**63 - 1), ("-" + "9" * 9000, 1 - 2**63)])
def test_an_integer_beyond_all_ids_is_the_last_id(text: str, number: int) -> None:
    assert integer(text) == number


@pytest.mark.parametrize(
    ("query", "request_"),
    [
        ({}, PollRequest("", None)),
        ({"last_id": "", "room": ""}, PollRequest("", None)),
        ({"last_id": "0"}, PollRequest("", 0)),
        ({"last_id": "0", "transport": ""}, PollRequest("", 0)),
        ({"last_id": "0", "transport": "poll"}, PollRequest("", 0)),
        ({"last_id": "0", "transport": "sse"}, PollRequest("", 0)),
        ({"last_id": "0", "transport": "websocket"}, PollRequest("", 0)),
        ({"last_id": "17", "room": "kitchen"}, PollRequest("", 17)),
        ({"last_id": "-1"}, PollRequest("", None)),
        ({"last_id": "9" * 50}, PollRequest("", 2**63 - 1)),
    ],
)
def test_a_poll_of_a_default_channel_has_no_room(query: dict[str, str], request_: PollRequest) -> None:
    assert parse_poll(query, LOBBY) == request_


def test_a_poll_hears_rooms_as_they_are_stored() -> None:
    assert parse_poll({"room": " Mine "}, ROOMS) == PollRequest("mine", None)


@pytest.mark.parametrize("query", [{}, {"room": ""}, {"last_id": "5"}])
def test_a_poll_of_separate_rooms_needs_a_room(query: dict[str, str]) -> None:
    with pytest.raises(RoomRequired):
        parse_poll(query, ROOMS)


@pytest.mark.parametrize("channel", [LOBBY, ROOMS])
@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"last_id": "abc"}, {"last_id": ["A valid integer is required."]}),
        ({"room": "x" * 129}, {"room": ["Ensure this field has no more than 128 characters."]}),
        ({"room": " "}, {"room": ["This field may not be blank."]}),
        ({"transport": "carrier-pigeon"}, {"transport": ['"carrier-pigeon" is not a valid choice.']}),
        (
            {"last_id": "1.5", "room": "\0"},
            {"last_id": ["A valid integer is required."], "room": ["Null characters are not allowed."]},
        ),
    ],
)
def test_a_wrong_poll_is_told_all_that_is_wrong(channel: ChannelInfo, query: dict[str, str], fields: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_poll(query, channel)
    assert refusal.value.fields == fields


# Encoding


def message(**changes: Any) -> Message:
    fields = {
        "channel_id": 2,
        "id": 17,
        "previous_id": 0,
        "room": "kitchen",
        "created_at": 1709194502004500,
        "action": "custom",
        "author": '{"api_key":4,"user":2}',
        "metadata": '{"type":"message"}',
        "payload": '{"text":"żur"}',
    }
    return Message(**{**fields, **changes})


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1709194502004500, "2024-02-29T08:15:02.004500Z"),
        (1709194502000000, "2024-02-29T08:15:02.000000Z"),
    ],
)
def test_times_have_six_digits_and_a_z(microseconds: int, text: str) -> None:
    assert timestamp(microseconds) == text


def test_a_message_is_written_as_on_the_wire() -> None:
    assert message_json(message(), ROOMS).decode() == (
        '{"id":17,"room":"kitchen","created_at":"2024-02-29T08:15:02.004500Z","action":"custom",'
        '"author":{"api_key":4,"user":2},"metadata":{"type":"message"},"payload":{"text":"żur"},'
        '"links":{"self":"/v1.1/instances/rivia/channels/rooms/history/17/"}}'
    )


@given(texts)
def test_a_room_is_escaped(room: str) -> None:
    assert json.loads(message_json(message(room=room), ROOMS))["room"] == room


def test_a_live_message_has_no_room_and_no_links_and_is_encoded_once() -> None:
    live = message()
    assert poll_json(live).decode() == (
        '{"id":17,"created_at":"2024-02-29T08:15:02.004500Z","action":"custom","author":{"api_key":4,"user":2},'
        '"metadata":{"type":"message"},"payload":{"text":"żur"}}'
    )
    assert poll_json(live) is poll_json(live)


def test_a_duplicate_says_so() -> None:
    first = json.loads(receipt_json(Receipt(message()), ROOMS))
    assert json.loads(receipt_json(Receipt(message(), duplicate=True), ROOMS)) == {**first, "duplicate": True}
