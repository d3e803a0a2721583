"""The decisions of resuming, without any I/O: what is missing, what continues what, how a resume went.

A message continues a reader at position p when the one before it *in its room* has an id up to p (law 3). Reading all rooms
of a channel, that is the id before it. Imports nothing of Django.
"""

from collections.abc import Sequence

from .types import ALL_ROOMS, Gap, GapReason, Head, Message, Position, Recovery

Event = Message | Gap


def previous_id(message: Message, room: str | None) -> int:
    """The id that a reader of `room` must have reached to take the message next."""
    return message.id - 1 if room is ALL_ROOMS else message.previous_id


def missing(position: int, messages: Sequence[Message], head: Head, room: str | None) -> Gap | None:
    """What is gone between `position` and what the log still had after it (`messages`, read after `head` was)."""
    reached = previous_id(messages[0], room) if messages else head.last_id
    return Gap(position + 1, reached, GapReason.TRIMMED) if reached > position else None


def continues(position: int, events: Sequence[Event], room: str | None) -> bool:
    """Whether the events follow the position without a hole. Each already follows the one before it."""
    if not events:
        return True
    first = events[0]
    return isinstance(first, Gap) or previous_id(first, room) <= position


def newer(position: int, events: Sequence[Event]) -> list[Event]:
    """The events without those that the position has already passed; a gap is told from there on.

    After a new epoch's notice no id from before says anything: the position is what the notice says.
    """
    kept: list[Event] = []
    for event in events:
        if is_epoch(event):
            kept.append(event)
        elif last_id(event) > position:
            kept.append(_after(position, event))
        else:
            continue
        position = last_id(event)
    return kept


def first_id(event: Event) -> int:
    return event.from_id if isinstance(event, Gap) else event.id


def last_id(event: Event) -> int:
    """The position of a reader that has taken the event."""
    return event.to_id if isinstance(event, Gap) else event.id


def _after(position: int, event: Event) -> Event:
    if isinstance(event, Gap) and event.from_id <= position:
        return Gap(position + 1, event.to_id, event.reason)
    return event


def is_epoch(event: Event) -> bool:
    """Whether it is the notice of another epoch."""
    return isinstance(event, Gap) and event.reason is GapReason.EPOCH


def start(after: Position | None, head: Head) -> int:
    """The id from which a new reader goes on.

    Nothing given: from now. Another epoch: from the oldest that is kept, since all of it is new to this reader. Above the
    newest id: from now, since no message can be meant (wire/syncano.md, D16).
    """
    if after is None:
        return head.top_id
    if after.epoch and after.epoch != head.epoch:
        return 0
    return min(after.id, head.top_id)


def judge(after: Position | None, head: Head, gap: Gap | None) -> Recovery:
    """How the resume went."""
    if after is not None and after.epoch and after.epoch != head.epoch:
        return Recovery.OTHER_EPOCH
    return Recovery.TRUNCATED if gap else Recovery.COMPLETE
