"""SIDs spell stored UUIDs; a message's is its own for ever (wire/twilio.md §1)."""

import dataclasses
import re
import weakref
from uuid import UUID, uuid4

import pytest

from channels_app.core.types import Message
from channels_app.dialects.twilio.sids import SERVICE, STREAM, is_sid, message_sid, request_sid, sid, uuid_of

FIRST = Message(
    channel_id=1, id=1, previous_id=0, room="", created_at=1_700_000_000_000_000, action="custom", author="{}", metadata="{}",
    payload="{}",
)  # fmt: skip


class Text(str):
    """Of which can be told whether somebody still has it."""


def test_a_sid_is_read_back_in_either_case_of_its_digits() -> None:
    uuid = uuid4()
    text = sid(STREAM, uuid)
    assert re.fullmatch("TO[0-9a-f]{32}", text)
    assert uuid_of(STREAM, text) == uuid_of(STREAM, "TO" + text[2:].upper()) == uuid


@pytest.mark.parametrize(
    "text", ["", "TO", "IS" + "0" * 32, "to" + "0" * 32, "TO" + "0" * 31, "TO" + "0" * 33, "TO" + "g" * 32, "TO" + "٠" * 32]
)
def test_what_is_no_sid_of_the_kind_is_none(text: str) -> None:
    assert uuid_of(STREAM, text) is None


def test_what_is_no_sid_by_its_length_is_not_kept_in_memory() -> None:
    kept: list[weakref.ref[str]] = []
    for length in (33, 35, 60_000):
        text = Text("A" * length)
        kept.append(weakref.ref(text))
        assert uuid_of(STREAM, text) is None
    del text
    assert [each() for each in kept] == [None, None, None]


def test_a_sid_of_another_kind_is_a_sid_all_the_same() -> None:
    assert is_sid(sid(SERVICE, UUID(int=0)))
    assert not is_sid("IS" + "0" * 32 + "\n")


def test_a_message_keeps_its_sid_and_shares_it_with_no_other() -> None:
    stream = uuid4()
    others = [dataclasses.replace(FIRST, id=2), dataclasses.replace(FIRST, created_at=FIRST.created_at + 1)]
    sids = [message_sid(stream, FIRST), *(message_sid(stream, other) for other in others), message_sid(uuid4(), FIRST)]
    assert all(re.fullmatch("TZ[0-9a-f]{32}", each) for each in sids)
    assert len(set(sids)) == 4
    assert message_sid(stream, dataclasses.replace(FIRST)) == sids[0]


def test_no_two_requests_have_one_sid() -> None:
    assert re.fullmatch("RQ[0-9a-f]{32}", request_sid())
    assert request_sid() != request_sid()
