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

import collections
import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import Error, connection, transaction

from channels_app.conf import conf
from channels_app.models.log import Counter, IdempotencyKey, Lease, Purge, RoomHead
from channels_app.models.log import Message as MessageRow

from . import notifier
from .errors import Conflict, NotFound, PubSubError, StoreFull, StoreUnavailable
from .statements import Statement, for_rows, for_table, in_one_transaction, run
from .types import Draft, Head, Message, Receipt, StreamAdvanced

COUNTER = Counter._meta.db_table
MESSAGE = MessageRow._meta.db_table
ROOM_HEAD = RoomHead._meta.db_table
IDEMPOTENCY_KEY = IdempotencyKey._meta.db_table

COLUMNS = "channel_id, id, previous_id, room, created_at, action, author, metadata, payload"
# New messages know their places from the channel's end only: the id is `last_id - back`. `room_back` tells the message before
# in the same room; it is null for the first one of a batch, which comes after what the room has.
NEW = {"channel_id": "bigint", "back": "bigint", "room_back": "bigint", "room": "text", "created_at": "bigint"} | dict.fromkeys(
    ("action", "author", "metadata", "payload"), "text"
)
_INSERT = (
    f"INSERT INTO {MESSAGE} ({COLUMNS})"
    " SELECT channel_id, counter.last_id - back, %s, room, created_at, action, author, metadata, payload"
    f" FROM new JOIN {COUNTER} AS counter USING (channel_id)"
)
INSERT_MESSAGES = _INSERT % "counter.last_id - room_back"
INSERT_MESSAGES_OF_ROOMS = (
    _INSERT % "COALESCE(counter.last_id - room_back, head.last_id, 0)"
    + f" LEFT JOIN {ROOM_HEAD} AS head USING (channel_id, room)"
)
UPSERT_ROOM_HEADS = (
    f"INSERT INTO {ROOM_HEAD} (channel_id, room, last_id) SELECT column1, column2, last_id - column3"
    f" FROM ({{rows}}) AS newest JOIN {COUNTER} ON channel_id = column1 WHERE true"
    " ON CONFLICT (channel_id, room) DO UPDATE SET last_id = excluded.last_id"
)
UPSERT_IDEMPOTENCY_KEYS = (
    f"INSERT INTO {IDEMPOTENCY_KEY} (channel_id, digest, content, message_id, previous_id, created_at) {{rows}}"
    " ON CONFLICT (channel_id, digest) DO UPDATE SET content = excluded.content, message_id = excluded.message_id,"
    " previous_id = excluded.previous_id, created_at = excluded.created_at"
)
RAISE_COUNTER = f"UPDATE {COUNTER} SET last_id = last_id + %s WHERE channel_id = %s RETURNING channel_id, last_id, epoch"
# Of several. An UPDATE locks rows in whatever order it meets them: so it gets them from a query that has locked them in order.
RAISE_COUNTERS = (
    "WITH grown (of_channel, by_count) AS ("
    f"SELECT counter.channel_id, added.column2 FROM {COUNTER} AS counter"
    " JOIN ({rows}) AS added ON added.column1 = counter.channel_id ORDER BY counter.channel_id {lock})"
    f" UPDATE {COUNTER} SET last_id = last_id + by_count FROM grown WHERE channel_id = of_channel"
    " RETURNING channel_id, last_id, epoch"
)
# Joins: for `IN (VALUES …)` SQLite reads the whole table.
FIND_COUNTERS = (
    f"SELECT channel_id, epoch, last_id, trimmed_id FROM ({{rows}}) AS wanted JOIN {COUNTER} ON channel_id = column1"
)
FIND_ROOM_HEADS = (
    f"SELECT channel_id, room, last_id FROM ({{rows}}) AS wanted JOIN {ROOM_HEAD} ON channel_id = column1 AND room = column2"
)
FIND_IDEMPOTENCY_KEYS = (
    f"SELECT channel_id, digest, content, message_id, previous_id, created_at FROM ({{rows}}) AS wanted"
    f" JOIN {IDEMPOTENCY_KEY} ON channel_id = column1 AND digest = column2 WHERE created_at > column3"
)

# A hint carries the messages themselves up to this size; past it, readers find them in the log.
INLINE_BYTES = 64 * 1024

# In a subquery PostgreSQL's planner does not see which channel. Of one that its statistics do not know yet it would expect a
# single message, and for a single one any index will do: also `message_by_room`, where it reads all that the channel has.
OF_CHANNEL = "channel_id = (SELECT %s)"


class Entry(NamedTuple):
    """One publish on its way into the log."""

    channel_id: int
    draft: Draft

    @property
    def size(self) -> int:
        return self.draft.size


Outcome = Receipt | PubSubError
Key = tuple[int, str]  # channel, digest of an idempotency key and its author
Place = tuple[int, int | None]  # of a new message: `back` and `room_back` (see NEW)
Known = tuple[str, int, int, int]  # what a key was used for: digest of the content, message id, previous id, time
Held = tuple[int, int, int]  # what a channel has: channel, number of messages, time of the oldest


def now_us() -> int:
    return time.time_ns() // 1000


# Appending


def append(entries: Sequence[Entry]) -> list[Outcome]:
    """Store the entries; return one receipt, or one error, for each, in their order.

    Joins the caller's transaction; readers are told when that commits. An entry's own error (no such channel, an
    idempotency key used for something else) does not fail its neighbours. Database errors are raised: nothing is stored.
    It takes as many statements for a hundred channels as for one.
    """
    keyed = any(entry.draft.idempotency_key for entry in entries)
    with in_one_transaction(several_runs=keyed), connection.cursor() as cursor:
        outcomes, epochs = (_store_once if keyed else _store)(cursor, entries, now_us())
        hints = _hints(outcomes, epochs)
        if hints:
            # robust: the messages are stored by then; a hint that fails costs the safety poll, never the publish.
            transaction.on_commit(lambda: notifier.announce(hints), robust=True)
    return outcomes


def _store(cursor: Any, entries: Sequence[Entry], now: int) -> tuple[list[Outcome], dict[int, str]]:
    """Give the entries their ids and insert them; returns their outcomes, and the epoch of each channel.

    What is written does not depend on what was read: so a database that takes several statements at once gets them all.
    """
    growth = collections.Counter([entry.channel_id for entry in entries])
    places, newest = _places(entries, growth)
    raised, room_heads, *_ = run(
        cursor,
        _raise_counters(growth),
        for_rows(FIND_ROOM_HEADS, list(newest)),
        for_table(
            INSERT_MESSAGES_OF_ROOMS if newest else INSERT_MESSAGES,
            NEW,
            [
                (entry.channel_id, *place, d.room, now, d.action, d.author, d.metadata, d.payload)
                for entry, place in zip(entries, places, strict=True)
                for d in (entry.draft,)
            ],
        ),
        for_rows(UPSERT_ROOM_HEADS, [(*room, back) for room, back in newest.items()]),
    )
    last_ids = {channel_id: last_id for channel_id, last_id, _ in raised}
    heads = {(channel_id, room): last_id for channel_id, room, last_id in room_heads}
    outcomes: list[Outcome] = []
    for entry, (back, room_back) in zip(entries, places, strict=True):
        channel_id, d = entry.channel_id, entry.draft
        last_id = last_ids.get(channel_id)
        if last_id is None:
            outcomes.append(NotFound("channel"))
            continue
        previous_id = heads.get((channel_id, d.room), 0) if room_back is None else last_id - room_back
        message = Message(channel_id, last_id - back, previous_id, d.room, now, d.action, d.author, d.metadata, d.payload)
        outcomes.append(Receipt(message))
    return outcomes, {channel_id: epoch for channel_id, _, epoch in raised}


def _places(entries: Iterable[Entry], growth: Mapping[int, int]) -> tuple[list[Place], dict[tuple[int, str], int]]:
    """Where each entry comes (see NEW), and where the newest one of each named room."""
    left = dict(growth)
    places: list[Place] = []
    newest: dict[tuple[int, str], int] = {}
    for entry in entries:
        channel_id, room = entry.channel_id, entry.draft.room
        back = left[channel_id] = left[channel_id] - 1
        if room:
            places.append((back, newest.get((channel_id, room))))
            newest[channel_id, room] = back
        else:
            places.append((back, back + 1))
    return places, newest


def _raise_counters(growth: Mapping[int, int]) -> list[Statement]:
    """Locks the channels' counters and raises them; gives channel, last id and epoch of those that there are."""
    if len(growth) == 1:
        return [(RAISE_COUNTER, [growth[channel_id], channel_id]) for channel_id in growth]
    lock = "FOR UPDATE OF counter" if connection.features.has_select_for_update else ""
    return for_rows(RAISE_COUNTERS.replace("{lock}", lock), sorted(growth.items()))


def _hints(outcomes: Iterable[Outcome], epochs: Mapping[int, str]) -> list[StreamAdvanced]:
    by_channel: dict[int, list[Message]] = {}
    for outcome in outcomes:
        if isinstance(outcome, Receipt) and not outcome.duplicate:
            by_channel.setdefault(outcome.message.channel_id, []).append(outcome.message)
    hints = []
    for channel_id, messages in by_channel.items():
        inline = tuple(messages) if sum([message.size for message in messages]) <= INLINE_BYTES else ()
        hints.append(StreamAdvanced(channel_id, epochs[channel_id], {m.room: m.id for m in messages}, inline))
    return hints


# Idempotency keys


def _store_once(cursor: Any, entries: Sequence[Entry], now: int) -> tuple[list[Outcome], dict[int, str]]:
    """`_store` but for the entries whose key was used before, in an earlier batch or in this one."""
    keys = [_key(entry) for entry in entries]
    known = _find_keys(cursor, entries, keys, now)
    fresh = _first_ones(keys, known)
    outcomes, epochs = _store(cursor, [entries[index] for index in fresh], now)
    stored = dict(zip(fresh, outcomes, strict=True))
    added = {key: _use(told.message) for index, told in stored.items() if (key := keys[index]) and isinstance(told, Receipt)}
    run(cursor, for_rows(UPSERT_IDEMPOTENCY_KEYS, [(*key, *use) for key, use in added.items()]))
    known |= added
    repeated = {
        index: _repeated(entries[index], known.get(key)) for index, key in enumerate(keys) if key and index not in stored
    }
    return [(stored | repeated)[index] for index in range(len(entries))], epochs


def _key(entry: Entry) -> Key | None:
    draft = entry.draft
    if not draft.idempotency_key:
        return None
    text = f"{draft.author}\0{draft.idempotency_key}"
    return entry.channel_id, hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _content_digest(published: Draft | Message) -> str:
    return hashlib.sha256(f"{published.room}\0{published.payload}".encode()).hexdigest()


def _use(message: Message) -> Known:
    return _content_digest(message), message.id, message.previous_id, message.created_at


def _find_keys(cursor: Any, entries: Sequence[Entry], keys: Sequence[Key | None], now: int) -> dict[Key, Known]:
    # The locks first: of two publishes with one key, the second must see what the first stored. All of the batch's, for order.
    locking = _raise_counters(dict.fromkeys((entry.channel_id for entry in entries), 0))
    oldest = now - conf.IDEMPOTENCY_TTL * 1_000_000
    finding = for_rows(FIND_IDEMPOTENCY_KEYS, [(*key, oldest) for key in sorted({key for key in keys if key})])
    counters, found = run(cursor, locking, finding)
    there = {channel_id for channel_id, *_ in counters}
    return {(channel_id, digest): (*use,) for channel_id, digest, *use in found if channel_id in there}


def _first_ones(keys: Sequence[Key | None], known: Iterable[Key]) -> list[int]:
    """The indexes of those without a key, and of the first with each key that is not known."""
    seen = set(known)
    first: list[int] = []
    for index, key in enumerate(keys):
        if key is None or key not in seen:
            first.append(index)
        if key is not None:
            seen.add(key)
    return first


def _repeated(entry: Entry, known: Known | None) -> Outcome:
    if known is None:
        return NotFound("channel")
    draft, (content, id_, previous_id, created_at) = entry.draft, known
    if content != _content_digest(draft):
        return Conflict("This Idempotency-Key was used for another message.")
    message = Message(
        entry.channel_id, id_, previous_id, draft.room, created_at, draft.action, draft.author, draft.metadata, draft.payload
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
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {COLUMNS} FROM {MESSAGE} WHERE {OF_CHANNEL} AND id = %s", [channel_id, message_id])
        row = cursor.fetchone()
    if row is None:
        raise NotFound("message")
    return Message(*row)


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
    with connection.cursor() as cursor:
        found, named = run(
            cursor,
            for_rows(FIND_COUNTERS, sorted({(channel_id,) for channel_id, _ in wanted})),
            for_rows(FIND_ROOM_HEADS, sorted({(channel_id, room) for channel_id, room in wanted if room})),
        )
    counters = {channel_id: rest for channel_id, *rest in found}
    room_heads = {(channel_id, room): last_id for channel_id, room, last_id in named}
    answer: dict[tuple[int, str | None], Head] = {}
    for channel_id, room in wanted:
        if channel_id in counters:
            epoch, last_id, trimmed_id = counters[channel_id]
            room_last_id = room_heads.get((channel_id, room), 0) if room else last_id
            answer[channel_id, room] = Head(epoch, room_last_id, last_id, trimmed_id)
    return answer


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


def held(after: int, limit: int) -> list[Held]:
    """Of up to `limit` channels that hold messages, in order of their ids, from above `after`."""
    oldest = f"SELECT created_at FROM {MESSAGE} WHERE channel_id = counter.channel_id AND id = trimmed_id + 1"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT channel_id, last_id - trimmed_id, COALESCE(({oldest}), 0) FROM {COUNTER} AS counter"
            " WHERE channel_id > %s AND last_id > trimmed_id ORDER BY channel_id LIMIT %s",
            [after, limit],
        )
        found: list[Held] = cursor.fetchall()
    return found


def trim(channel_id: int, *, older_than: int | None, keep: int | None, limit: int) -> int:
    """Remove up to `limit` messages from the front: those made before `older_than` (microseconds), or beyond the newest `keep`.

    Returns how many went. It looks first, without a lock, and takes the counter's lock last: publishes hardly notice.
    """
    counter = Counter.objects.filter(channel_id=channel_id).first()
    if counter is None:
        return 0
    through = _trimmable(counter, older_than, counter.last_id - keep if keep is not None else 0, limit)
    if through <= counter.trimmed_id:
        return 0
    with transaction.atomic():
        removed = _delete_messages(channel_id, counter.trimmed_id, through)
        Counter.objects.filter(channel_id=channel_id, trimmed_id__lt=through).update(trimmed_id=through)
    return removed


def _trimmable(counter: Counter, older_than: int | None, surplus_through: int, limit: int) -> int:
    """The newest id of the run, from the front, that may go; none above `trimmed_id` when the oldest message may stay."""
    through = min(counter.trimmed_id + limit, counter.last_id)
    if older_than is None:
        return min(through, surplus_through)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id - 1 FROM {MESSAGE} WHERE channel_id = %s AND id > %s AND id <= %s AND created_at >= %s"
            " ORDER BY id LIMIT 1",
            [counter.channel_id, max(counter.trimmed_id, surplus_through), through, older_than],
        )
        before_first_to_stay = cursor.fetchone()
    return before_first_to_stay[0] if before_first_to_stay else through


def dropped_channels() -> list[int]:
    """The deleted channels whose rows still have to go."""
    return list(Purge.objects.values_list("channel_id", flat=True))


def purge(channel_id: int, *, limit: int) -> Iterator[int]:
    """Remove the rows of a deleted channel, up to `limit` at a time; tells each time how many went.

    It need not be run to its end: what it has left, the next one removes.
    """
    yield from _purge_messages(channel_id, limit)
    for table, column in ((ROOM_HEAD, "room"), (IDEMPOTENCY_KEY, "digest")):
        yield from _delete_along(table, column, "", limit, "channel_id = %s", channel_id)
    Purge.objects.filter(channel_id=channel_id).delete()


def _purge_messages(channel_id: int, limit: int) -> Iterator[int]:
    messages = f"FROM {MESSAGE} WHERE {OF_CHANNEL}"
    with connection.cursor() as cursor:
        # Each by itself: SQLite finds one end in the index, for both it reads all.
        cursor.execute(f"SELECT (SELECT MIN(id) {messages}), (SELECT MAX(id) {messages})", [channel_id, channel_id])
        first, last = cursor.fetchone()
    if first is not None:
        for after in range(first - 1, last, limit):
            yield _delete_messages(channel_id, after, after + limit)


def _delete_messages(channel_id: int, after: int, through: int) -> int:
    """Those above `after` and up to `through`. Before them are rows that were deleted: told to begin at the front, PostgreSQL
    would walk over these again until they are vacuumed.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {MESSAGE} WHERE {OF_CHANNEL} AND id > %s AND id <= %s", [channel_id, after, through])
        removed: int = cursor.rowcount
        return removed


def expire_idempotency_keys(*, limit: int) -> Iterator[int]:
    """Forget the keys that are older than `conf.IDEMPOTENCY_TTL`, about `limit` at a time; tells each time how many went."""
    cutoff = now_us() - conf.IDEMPOTENCY_TTL * 1_000_000
    return _delete_along(IDEMPOTENCY_KEY, "created_at", 0, limit, "created_at < %s", cutoff)


def _delete_along(table: str, column: str, after: int | str, limit: int, where: str, value: int) -> Iterator[int]:
    """Delete what is above `after`, by the column's index. A batch begins where the last one ended: see `_delete_messages`."""
    while True:
        with connection.cursor() as cursor:
            # The database says which one is the last: it may order texts in another way than Python.
            cursor.execute(
                f"SELECT MAX({column}) FROM"
                f" (SELECT {column} FROM {table} WHERE {where} AND {column} > %s ORDER BY {column} LIMIT %s) AS front",
                [value, after, limit],
            )
            (through,) = cursor.fetchone()
            if through is None:
                return
            cursor.execute(f"DELETE FROM {table} WHERE {where} AND {column} > %s AND {column} <= %s", [value, after, through])
            removed = cursor.rowcount
        yield removed
        after = through


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
