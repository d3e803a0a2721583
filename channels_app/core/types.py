"""The words of the core (DESIGN.md §2). Imports nothing of Django: everything here is plain data."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ALL_ROOMS = None  # as a room to read: every message of the channel, whatever its room


class Front(NamedTuple):
    """The part of a dialect that a publish came in by or a subscriber listens on ("websocket"): for metrics and logs."""

    dialect: str
    name: str


NO_FRONT = Front("none", "none")


class Draft(NamedTuple):
    """What a publisher hands in. `payload`, `author` and `metadata` are JSON text; `room` is "" on a default channel."""

    payload: str
    author: str
    room: str = ""
    metadata: str = '{"type":"message"}'
    action: str = "custom"
    idempotency_key: str = ""
    front: Front = NO_FRONT

    @property
    def size(self) -> int:
        """Roughly the bytes it holds in memory while it waits."""
        return len(self.payload) + len(self.metadata) + len(self.author) + 200


@dataclass(slots=True)  # never changed; but to have that enforced would make it three times as expensive to make
class Message:
    """One message of the log. `created_at` is in microseconds since 1970-01-01 UTC; the texts are JSON."""

    channel_id: int
    id: int
    previous_id: int  # the id before it in its own room; 0: none
    room: str
    created_at: int
    action: str
    author: str
    metadata: str
    payload: str
    # What dialects made of it, by encoder: one encoding serves every subscriber of a dialect.
    encodings: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Roughly the bytes it costs to hold for a subscriber."""
        return len(self.payload) + len(self.metadata) + len(self.author) + 200


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader got. An unknown epoch ("") is taken for the channel's own."""

    id: int
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a room stands: its newest id, the newest of its whole channel, and up to which id the channel was trimmed."""

    epoch: str
    last_id: int
    top_id: int
    trimmed_id: int


class Receipt(NamedTuple):
    """What a publisher gets back, after the commit. `duplicate`: the idempotency key was seen before."""

    message: Message
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class StreamAdvanced:
    """A hint that a channel has grown. It may be lost, repeated or reordered (law 5).

    `heads` gives the newest id of each room that grew; `messages` are all new ones, or none when they were too many.
    """

    channel_id: int
    epoch: str
    heads: Mapping[str, int]
    messages: tuple[Message, ...] = ()

    @property
    def last_id(self) -> int:
        return max(self.heads.values())


class GapReason(enum.StrEnum):
    TRIMMED = "trimmed"  # retention removed it
    EPOCH = "epoch"  # the channel's ids started over: what a position meant is unknown


@dataclass(frozen=True, slots=True)
class Gap:
    """The explicit notice that messages of a reader's room with ids in `from_id`..`to_id` (inclusive) are gone.

    With reason EPOCH no id from before says anything: `from_id` is 0, and what follows has ids above `to_id`.
    """

    from_id: int
    to_id: int
    reason: GapReason


class Recovery(enum.StrEnum):
    """The three answers to a resume (law 4)."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    OTHER_EPOCH = "other_epoch"


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why the server ends a live connection. 4000-4099: stop; 4100-4199: back off and reconnect; 4200-4299: reconnect now."""

    code: int
    reason: str


REVOKED = CloseReason(4003, "access revoked")
CHANNEL_DELETED = CloseReason(4004, "channel deleted")
RESTARTING = CloseReason(4200, "server restarting")
CLOSE_REASONS = (REVOKED, CHANNEL_DELETED, RESTARTING)
