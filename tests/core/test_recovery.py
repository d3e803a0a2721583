"""The decisions of resuming, as plain functions."""

import pytest

from channels_app.core import recovery
from channels_app.core.types import ALL_ROOMS, Gap, GapReason, Head, Message, Position, Recovery


def message(id_, previous_id=None, room=""):
    return Message(1, id_, id_ - 1 if previous_id is None else previous_id, room, 0, "custom", "{}", "{}", "{}")


def head(last_id, top_id=None, trimmed_id=0, epoch="e"):
    return Head(epoch, last_id, last_id if top_id is None else top_id, trimmed_id)


TRIMMED = GapReason.TRIMMED


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (None, 10),
        (Position(0), 0),
        (Position(7), 7),
        (Position(7, "e"), 7),
        (Position(7, "another"), 0),
        (Position(999), 10),
    ],
    ids=["nothing given", "from the oldest", "a known id", "same epoch", "another epoch", "above the newest"],
)
def test_a_reader_starts(after, expected):
    assert recovery.start(after, head(10)) == expected


@pytest.mark.parametrize(
    ("position", "messages", "last_id", "gap"),
    [
        (5, [message(6)], 6, None),
        (5, [], 5, None),
        (5, [message(9, previous_id=3, room="r")], 9, None),
        (5, [message(9, previous_id=8, room="r")], 9, Gap(6, 8, TRIMMED)),
        (5, [], 8, Gap(6, 8, TRIMMED)),
    ],
    ids=["continues", "nothing new", "others were in other rooms", "some are gone", "all are gone"],
)
def test_what_is_missing_between_a_position_and_the_log(position, messages, last_id, gap):
    assert recovery.missing(position, messages, head(last_id), "r") == gap


def test_a_reader_of_all_rooms_misses_what_any_room_lost():
    assert recovery.missing(5, [message(9, previous_id=3, room="r")], head(9), ALL_ROOMS) == Gap(6, 8, TRIMMED)


def test_buffered_events_continue_a_position_when_their_first_one_does():
    assert recovery.continues(5, [], "")
    assert recovery.continues(5, [message(6)], "")
    assert recovery.continues(5, [message(9, previous_id=5)], "")
    assert recovery.continues(5, [Gap(6, 8, TRIMMED), message(9)], "")
    assert not recovery.continues(5, [message(7)], "")


def test_events_that_were_passed_already_are_dropped_and_a_new_epoch_never_is():
    epoch = Gap(0, 3, GapReason.EPOCH)
    events = [message(4), Gap(5, 5, TRIMMED), message(6), Gap(7, 9, TRIMMED), message(10)]
    assert recovery.newer(5, events) == [message(6), Gap(7, 9, TRIMMED), message(10)]
    assert recovery.newer(8, events) == [Gap(9, 9, TRIMMED), message(10)]
    assert recovery.newer(100, [*events, epoch, message(4)]) == [epoch, message(4)]


@pytest.mark.parametrize(
    ("after", "gap", "answer"),
    [
        (None, None, Recovery.COMPLETE),
        (Position(5, "e"), None, Recovery.COMPLETE),
        (Position(5, "e"), Gap(6, 8, TRIMMED), Recovery.TRUNCATED),
        (Position(5, "another"), Gap(1, 8, TRIMMED), Recovery.OTHER_EPOCH),
    ],
)
def test_a_resume_has_three_answers(after, gap, answer):
    assert recovery.judge(after, head(10), gap) is answer
