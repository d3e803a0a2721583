"""The one write path: every publish of every dialect goes through `publish` (or `apublish`) into the log.

publish → authorize → lane (group commit) → log.append → commit → receipt
                   └→ log.append directly, inside the caller's transaction, or with group commit off
"""

import atexit
import functools
import logging
import time
from collections.abc import Callable, Sequence

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from channels_app.conf import conf

from . import log, metrics, notifier
from .batcher import Batcher, BatcherClosed, BatcherFull
from .database import give_back, in_thread
from .directory import ChannelInfo
from .errors import Invalid, PubSubError, StoreUnavailable
from .log import Entry, Outcome
from .permissions import authorize_publish
from .principals import Principal
from .types import Draft, Receipt

logger = logging.getLogger(__name__)

CROWDED = "Too many publishes are waiting. Try again."


def publish(principal: Principal, channel: ChannelInfo, draft: Draft) -> Receipt:
    """Append the draft to the channel's log; returns after the commit.

    Inside an atomic block it joins the caller's transaction instead: the receipt then holds if that commits. Raises
    PermissionDenied, PublishDisabled, NotFound (channel gone meanwhile), Conflict (idempotency key), StoreFull,
    StoreUnavailable.
    """
    with metrics.Publishing(draft.front) as counted:
        authorize_publish(principal, channel)
        entry = Entry(channel.id, draft)
        if connection.in_atomic_block or not conf.GROUP_COMMIT:
            return counted.done(_receipt(append_each([entry])[0]))
        give_back()  # the lane may need it: as many as wait here could hold every connection of the pool
        try:
            future = _lane(entry).submit(entry)
            return counted.done(future.result(conf.PUBLISH_TIMEOUT))
        except TimeoutError as error:
            future.cancel()
            raise _told(error) from None
        except (BatcherFull, BatcherClosed) as error:
            raise _told(error) from None


async def apublish(principal: Principal, channel: ChannelInfo, draft: Draft) -> Receipt:
    """`publish` for coroutines: waits without a thread."""
    with metrics.Publishing(draft.front) as counted:
        authorize_publish(principal, channel)
        entry = Entry(channel.id, draft)
        try:
            if not conf.GROUP_COMMIT:
                return counted.done(_receipt((await in_thread(append_each, [entry]))[0]))
            return counted.done(await _lane(entry).submit_soon(entry, conf.PUBLISH_TIMEOUT))
        except (TimeoutError, OperationalError, BatcherFull, BatcherClosed) as error:
            raise _told(error) from None


def publish_soon(principal: Principal, channel: ChannelInfo, draft: Draft, tell: Callable[[Receipt | Exception], None]) -> None:
    """`publish` for callbacks of an event loop: `tell` is called from it with what `publish` would have returned or raised.

    Raises PermissionDenied and PublishDisabled itself. Not without group commit.
    """
    counted = metrics.Publishing(draft.front)
    authorize_publish(principal, channel)
    entry = Entry(channel.id, draft)

    def done(outcome: Receipt | Exception) -> None:
        told = outcome if isinstance(outcome, Receipt) else _told(outcome)
        counted.end(told)
        tell(told)

    _lane(entry).submit_calling(entry, done, conf.PUBLISH_TIMEOUT)


def _told(error: Exception) -> Exception:
    """What a caller is told of what it met on its way to the log."""
    if isinstance(error, (BatcherFull, BatcherClosed)):
        return StoreUnavailable(CROWDED)
    if isinstance(error, (TimeoutError, OperationalError)):
        return StoreUnavailable()  # what no transaction has taken yet is never stored: nobody waits for it any more
    return error


def append_each(entries: Sequence[Entry]) -> list[Outcome]:
    """`log.append` in one transaction; when the database refuses something in it, entry by entry, so that only that fails."""
    started = time.perf_counter()
    try:
        outcomes = log.append(entries)
        metrics.count_commit(len(entries), started)
        return outcomes
    except (OperationalError, InterfaceError) as error:
        logger.warning("The log did not take %d messages: %s", len(entries), error)
        _drop_connection()
        return [log.store_error(error)] * len(entries)
    except (DatabaseError, UnicodeError) as error:  # UnicodeError: half of a surrogate pair is no text to a database
        _drop_connection()
        if len(entries) == 1:
            logger.exception("The log refused a message of channel %d", entries[0].channel_id)
            return [log.store_error(error) if isinstance(error, DatabaseError) else Invalid({"payload": ["It is no text."]})]
        return [outcome for entry in entries for outcome in append_each([entry])]


def _drop_connection() -> None:
    """It may be broken, or lead to a server that takes nothing any more: the next transaction gets another one."""
    if not connection.in_atomic_block:
        connection.close()


def _receipt(outcome: Outcome) -> Receipt:
    if isinstance(outcome, PubSubError):
        raise outcome
    return outcome


def _lane(entry: Entry) -> Batcher[Entry, Receipt]:
    lanes = _lanes()
    return lanes[entry.channel_id % len(lanes)]


@functools.cache
def _lanes() -> list[Batcher[Entry, Receipt]]:
    """SQLite has one writer whatever we do; PostgreSQL commits several channels' batches side by side.

    A lane keeps its connection while it is busy: to get one for each batch costs a third of what the batch does.
    """
    count = 1 if connection.vendor == "sqlite" else max(1, conf.PUBLISH_LANES)
    lanes: list[Batcher[Entry, Receipt]] = [
        Batcher(
            append_each,
            name=f"publish-lane-{index}",
            max_waiting=conf.PUBLISH_QUEUE,
            ready=notifier.wait_until_handed_on,
            rest=give_back,
        )
        for index in range(count)
    ]
    atexit.register(close_lanes)
    return lanes


def close_lanes(timeout: float = 10.0) -> None:
    """Commit what waits and end the lanes; the next publish opens new ones."""
    if _lanes.cache_info().currsize:
        for lane in _lanes():
            lane.close(timeout)
        _lanes.cache_clear()
