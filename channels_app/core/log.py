"""The append-only table of messages: the one module that writes it, and reads it for every dialect.

Invariants (DESIGN.md §3), which everything below relies on:

* Ids of a channel are 1, 2, 3… and become visible in that order: `append` takes them by raising the channel's counter row,
  and the row lock is held until commit. So an id up to `last_id` that is missing is gone, never late.
* Counter rows are locked in ascending order of the channel: two batches cannot deadlock.
* Retention removes from the front only: what is gone is exactly the ids up to `trimmed_id`.
* Each message knows the id before it in its room (`previous_id`), kept exact by `RoomHead` under the counter's lock.

Functions here run in the caller's thread and join the caller's transaction. SQL is written out: at 30,000 messages a second
the ORM's objects cost more than the database does.
"""

import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import Error, connection, transaction

from channels_app.conf import conf
from channels_app.models.log import Counter, IdempotencyKey, Lease, Purge, RoomHead
from channels_app.models.log import Message as MessageRow

from . import notifier
from .errors import Conflict, NotFound, PubSubError, StoreFull, StoreUnavailable
from .types import Draft, Head, Message, Receipt, StreamAdvanced

COUNTER = Counter._meta.db_table
MESSAGE = MessageRow._meta.db_table
ROOM_HEAD = RoomHead._meta.db_table
IDEMPOTENCY_KEY = IdempotencyKey._meta.db_table

COLUMNS = "channel_id, id, previous_id, room, created_at, action, author, metadata, payload"
INSERT_MESSAGE = f"INSERT INTO {MESSAGE} ({COLUMNS}) VALUES "
MESSAGE_ROW = "(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
UPSERT_ROOM_HEAD = (
    f"INSERT INTO {ROOM_HEAD} (channel_id, room, last_id) VALUES (%s, %s, %s)"
    " ON CONFLICT (channel_id, room) DO UPDATE SET last_id = excluded.last_id"
)
UPSERT_IDEMPOTENCY_KEY = (
    f"INSERT INTO {IDEMPOTENCY_KEY} (channel_id, digest, content, message_id, previous_id, created_at)"
    " VALUES (%s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (channel_id, digest) DO UPDATE SET content = excluded.content, message_id = excluded.message_id,"
    " previous_id = excluded.previous_id, created_at = excluded.created_at"
)

# A hint carries the messages themselves up to this size; past it, readers find them in the log.
INLINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One publish on its way into the log."""

    channel_id: int
    draft: Draft

    @property
    def size(self) -> int:
        return self.draft.size


Outcome = Receipt | PubSubError


def now_us() -> int:
    return time.time_ns() // 1000


# Appending


def append(entries: Sequence[Entry]) -> list[Outcome]:
    """Store the entries; return one receipt, or one error, for each, in their order.

    Joins the caller's transaction; readers are told when that commits. An entry's own error (no such channel, an
    idempotency key used for something else) does not fail its neighbours. Database errors are raised: nothing is stored.
    """
    indexes: dict[int, list[int]] = {}
    for index, entry in enumerate(entries):
        indexes.setdefault(entry.channel_id, []).append(index)
    outcomes: list[Outcome] = [NotFound("channel")] * len(entries)
    hints = []
    with transaction.atomic(), connection.cursor() as cursor:
        for channel_id in sorted(indexes):
            added = _append_to_channel(cursor, channel_id, [entries[index].draft for index in indexes[channel_id]])
            if added is None:
                continue
            epoch, results = added
            for index, result in zip(indexes[channel_id], results, strict=True):
                outcomes[index] = result
            hint = _hint(channel_id, epoch, results)
            if hint is not None:
                hints.append(hint)
        if hints:
            # robust: the messages are stored by then; a hint that fails costs the safety poll, never the publish.
            transaction.on_commit(lambda: notifier.announce(hints), robust=True)
    return outcomes


def _append_to_channel(cursor: Any, channel_id: int, drafts: Sequence[Draft]) -> tuple[str, list[Outcome]] | None:
    """Append to one channel under its counter's lock; None when there is no such channel."""
    now = now_us()
    known = _find_idempotency_keys(cursor, channel_id, drafts, now) if any(d.idempotency_key for d in drafts) else {}
    fresh: list[int] = []
    first_of: dict[str, int] = {}  # digest of an idempotency key → the draft of this batch that brought it
    for index, draft in enumerate(drafts):
        digest = _key_digest(draft)
        if not digest:
            fresh.append(index)
        elif digest not in known and digest not in first_of:
            first_of[digest] = index
            fresh.append(index)
    cursor.execute(
        f"UPDATE {COUNTER} SET last_id = last_id + %s WHERE channel_id = %s RETURNING last_id, epoch",
        [len(fresh), channel_id],
    )
    row = cursor.fetchone()
    if row is None:
        return None
    last_id, epoch = row
    previous = _room_heads(cursor, channel_id, {drafts[index].room for index in fresh})
    stored: dict[int, Message] = {}
    for id_, index in enumerate(fresh, last_id - len(fresh) + 1):
        draft = drafts[index]
        before = previous.get(draft.room, 0) if draft.room else id_ - 1
        previous[draft.room] = id_
        stored[index] = Message(
            channel_id, id_, before, draft.room, now, draft.action, draft.author, draft.metadata, draft.payload
        )
    _insert(cursor, channel_id, stored.values(), previous)
    if first_of:
        cursor.executemany(
            UPSERT_IDEMPOTENCY_KEY,
            [
                (channel_id, digest, _content_digest(drafts[index]), stored[index].id, stored[index].previous_id, now)
                for digest, index in first_of.items()
            ],
        )
        known |= {
            digest: (_content_digest(drafts[index]), stored[index].id, stored[index].previous_id, now)
            for digest, index in first_of.items()
        }
    results: list[Outcome] = []
    for index, draft in enumerate(drafts):
        message = stored.get(index)
        results.append(Receipt(message) if message else _repeated(channel_id, draft, known[_key_digest(draft)]))
    return epoch, results


def _insert(cursor: Any, channel_id: int, messages: Iterable[Message], heads: dict[str, int]) -> None:
    # One statement for many rows: SQLite's driver lets go of the interpreter's lock once for each statement, and to get it
    # back from a busy event loop takes 5 ms.
    for chunk in _chunks(list(messages)):
        values: list[Any] = []
        for m in chunk:
            values += (m.channel_id, m.id, m.previous_id, m.room, m.created_at, m.action, m.author, m.metadata, m.payload)
        cursor.execute(INSERT_MESSAGE + ", ".join([MESSAGE_ROW] * len(chunk)), values)
    named = [(channel_id, room, id_) for room, id_ in heads.items() if room]
    if named:
        cursor.executemany(UPSERT_ROOM_HEAD, named)


def _room_heads(cursor: Any, channel_id: int, rooms: set[str]) -> dict[str, int]:
    named = sorted(rooms - {""})
    if not named:
        return {}
    marks = ", ".join(["%s"] * len(named))
    cursor.execute(f"SELECT room, last_id FROM {ROOM_HEAD} WHERE channel_id = %s AND room IN ({marks})", [channel_id, *named])
    return dict(cursor.fetchall())


def _hint(channel_id: int, epoch: str, results: Iterable[Outcome]) -> StreamAdvanced | None:
    messages = tuple(r.message for r in results if isinstance(r, Receipt) and not r.duplicate)
    if not messages:
        return None
    heads = {message.room: message.id for message in messages}
    inline = sum(message.size for message in messages) <= INLINE_BYTES
    return StreamAdvanced(channel_id, epoch, heads, messages if inline else ())


# Idempotency keys


def _key_digest(draft: Draft) -> str:
    if not draft.idempotency_key:
        return ""
    return hashlib.sha256(f"{draft.author}\0{draft.idempotency_key}".encode("utf-8", "replace")).hexdigest()


def _content_digest(draft: Draft) -> str:
    return hashlib.sha256(f"{draft.room}\0{draft.payload}".encode()).hexdigest()


def _find_idempotency_keys(
    cursor: Any, channel_id: int, drafts: Sequence[Draft], now: int
) -> dict[str, tuple[str, int, int, int]]:
    # The lock first: of two publishes with one key, the second must see what the first stored.
    cursor.execute(f"UPDATE {COUNTER} SET last_id = last_id WHERE channel_id = %s", [channel_id])
    digests = sorted({_key_digest(draft) for draft in drafts} - {""})
    marks = ", ".join(["%s"] * len(digests))
    cursor.execute(
        f"SELECT digest, content, message_id, previous_id, created_at FROM {IDEMPOTENCY_KEY}"
        f" WHERE channel_id = %s AND created_at > %s AND digest IN ({marks})",
        [channel_id, now - conf.IDEMPOTENCY_TTL * 1_000_000, *digests],
    )
    return {digest: tuple(rest) for digest, *rest in cursor.fetchall()}


def _repeated(channel_id: int, draft: Draft, known: tuple[str, int, int, int]) -> Outcome:
    content, id_, previous_id, created_at = known
    if content != _content_digest(draft):
        return Conflict("This Idempotency-Key was used for another message.")
    message = Message(
        channel_id, id_, previous_id, draft.room, created_at, draft.action, draft.author, draft.metadata, draft.payload
    )
    return Receipt(message, duplicate=True)


# Reading


def read_after(channel_id: int, room: str | None, after: int, limit: int) -> list[Message]:
    """Up to `limit` messages of the room (None: of all rooms) with ids above `after`, oldest first."""
    return _select("id > %s", [after], channel_id, room, "ASC", limit)


def read_before(channel_id: int, room: str | None, before: int, limit: int, *, above: int = 0) -> list[Message]:
    """Up to `limit` messages with ids below `before` and above `above`, newest first."""
    return _select("id < %s AND id > %s", [before, above], channel_id, room, "DESC", limit)


def get(channel_id: int, message_id: int) -> Message:
    """Raises NotFound for an id that was never given, or whose message is gone."""
    found = _select("id = %s", [message_id], channel_id, None, "ASC", 1)
    if not found:
        raise NotFound("message")
    return found[0]


def _select(where: str, parameters: list[Any], channel_id: int, room: str | None, order: str, limit: int) -> list[Message]:
    if room is not None:
        where += " AND room = %s"
        parameters = [*parameters, room]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM {MESSAGE} WHERE channel_id = %s AND {where} ORDER BY id {order} LIMIT %s",
            [channel_id, *parameters, limit],
        )
        return [Message(*row) for row in cursor.fetchall()]


def head(channel_id: int, room: str | None) -> Head:
    """Where the room (None: the whole channel) stands now. Raises NotFound when the channel is gone."""
    found = heads([(channel_id, room)]).get((channel_id, room))
    if found is None:
        raise NotFound("channel")
    return found


def heads(keys: Iterable[tuple[int, str | None]]) -> dict[tuple[int, str | None], Head]:
    """`head` for many at once; those whose channel is gone are missing from the answer."""
    wanted = list(keys)
    counters: dict[int, tuple[str, int, int]] = {}
    room_heads: dict[tuple[int, str], int] = {}
    named = [(channel_id, room) for channel_id, room in wanted if room]
    with connection.cursor() as cursor:
        for chunk in _chunks(sorted({channel_id for channel_id, _ in wanted})):
            marks = ", ".join(["%s"] * len(chunk))
            cursor.execute(f"SELECT channel_id, epoch, last_id, trimmed_id FROM {COUNTER} WHERE channel_id IN ({marks})", chunk)
            counters.update((channel_id, rest) for channel_id, *rest in cursor.fetchall())
        for pairs in _chunks(named):
            marks = " OR ".join(["(channel_id = %s AND room = %s)"] * len(pairs))
            cursor.execute(
                f"SELECT channel_id, room, last_id FROM {ROOM_HEAD} WHERE {marks}", [part for pair in pairs for part in pair]
            )
            room_heads.update(((channel_id, room), last_id) for channel_id, room, last_id in cursor.fetchall())
    answer: dict[tuple[int, str | None], Head] = {}
    for channel_id, room in wanted:
        if channel_id in counters:
            epoch, last_id, trimmed_id = counters[channel_id]
            room_last_id = room_heads.get((channel_id, room), 0) if room else last_id
            answer[channel_id, room] = Head(epoch, room_last_id, last_id, trimmed_id)
    return answer


def _chunks(items: list[Any], size: int = 200) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


# A channel's life


def open_channel(channel_id: int) -> None:
    """Give a new channel its counter, under an epoch that no channel had before."""
    Counter.objects.create(channel_id=channel_id, epoch=_new_epoch())


def renew_epochs() -> int:
    """Put every channel under another epoch; returns how many there are.

    For a log that was put back to an earlier state: ids after that state are given a second time, and a reader that has seen
    the first ones must be told that they mean nothing any more.
    """
    return Counter.objects.update(epoch=_new_epoch())


def _new_epoch() -> str:
    """Time and chance: no life of a channel had it before, not even one that a restored database has forgotten."""
    return f"{int(time.time()):08x}{secrets.token_hex(4)}"


def drop_channel(channel_id: int) -> None:
    """Take the counter away: from the commit on nothing can be published, and the rows wait for `retention`."""
    Counter.objects.filter(channel_id=channel_id).delete()
    Purge.objects.get_or_create(channel_id=channel_id)
    transaction.on_commit(lambda: notifier.announce_deleted(channel_id), robust=True)


# Retention (which decides what goes; `core.retention`)


def trim(channel_id: int, *, older_than: int | None, keep: int | None, limit: int) -> int:
    """Remove up to `limit` messages from the front: those made before `older_than` (microseconds), or beyond the newest `keep`.

    Returns how many went. It looks first, without a lock, and takes the counter's lock last: publishes hardly notice.
    """
    counter = Counter.objects.filter(channel_id=channel_id).first()
    if counter is None:
        return 0
    through = _trimmable(counter, older_than, counter.last_id - keep if keep is not None else 0, limit)
    if not through:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {MESSAGE} WHERE channel_id = %s AND id <= %s", [channel_id, through])
        removed: int = cursor.rowcount
        Counter.objects.filter(channel_id=channel_id, trimmed_id__lt=through).update(trimmed_id=through)
    return removed


def _trimmable(counter: Counter, older_than: int | None, surplus_through: int, limit: int) -> int:
    """The newest id of the run, from the front, that may go; 0 when the oldest message may stay."""
    through = 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, created_at FROM {MESSAGE} WHERE channel_id = %s AND id > %s ORDER BY id LIMIT %s",
            [counter.channel_id, counter.trimmed_id, limit],
        )
        for id_, created_at in cursor.fetchall():
            if id_ > surplus_through and (older_than is None or created_at >= older_than):
                break
            through = id_
    return through


def dropped_channels() -> list[int]:
    """The deleted channels whose rows still have to go."""
    return list(Purge.objects.values_list("channel_id", flat=True))


def purge(channel_id: int, *, limit: int) -> int:
    """Remove up to `limit` rows of a deleted channel; returns how many went, 0 when none were left."""
    for table, column in ((MESSAGE, "id"), (ROOM_HEAD, "room"), (IDEMPOTENCY_KEY, "digest")):
        removed = _delete_front(table, column, channel_id, limit)
        if removed:
            return removed
    Purge.objects.filter(channel_id=channel_id).delete()
    return 0


def _delete_front(table: str, column: str, channel_id: int, limit: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT MAX({column}) FROM"
            f" (SELECT {column} FROM {table} WHERE channel_id = %s ORDER BY {column} LIMIT %s) AS front",
            [channel_id, limit],
        )
        (through,) = cursor.fetchone()
        if through is None:
            return 0
        cursor.execute(f"DELETE FROM {table} WHERE channel_id = %s AND {column} <= %s", [channel_id, through])
        removed: int = cursor.rowcount
        return removed


def expire_idempotency_keys(*, limit: int) -> int:
    """Forget up to `limit` keys that are older than `conf.IDEMPOTENCY_TTL`; returns how many went."""
    cutoff = now_us() - conf.IDEMPOTENCY_TTL * 1_000_000
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT MAX(created_at), COUNT(*) FROM"
            f" (SELECT created_at FROM {IDEMPOTENCY_KEY} WHERE created_at < %s ORDER BY created_at LIMIT %s) AS front",
            [cutoff, limit],
        )
        through, count = cursor.fetchone()
        if count:
            cursor.execute(f"DELETE FROM {IDEMPOTENCY_KEY} WHERE created_at <= %s", [through])
        return int(count)


def take_lease(name: str, seconds: float) -> bool:
    """Whether this process may do that piece of housekeeping now; for `seconds` no other may."""
    now = now_us()
    Lease.objects.get_or_create(name=name)
    return Lease.objects.filter(name=name, until__lte=now).update(until=now + int(seconds * 1_000_000)) == 1


# Errors


def store_error(error: Error) -> PubSubError:
    """What a database error means to a caller: full, or not available (then whether a commit arrived is unknown)."""
    text = str(error).lower()
    if "disk is full" in text or "no space left" in text or getattr(error.__cause__, "sqlstate", "") == "53100":
        return StoreFull()
    return StoreUnavailable()
