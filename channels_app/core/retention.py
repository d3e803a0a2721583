"""Removing what need not be kept: old secrets of keys, expired channels, old messages, expired idempotency keys, the rows
of deleted channels.

Everything goes in batches of `conf.RETENTION_BATCH` rows, each in a transaction of its own, with a pause in between: a
publish waits for one batch at most, and so does the end of the process. Messages are removed from the front of a channel
only (`log`'s invariant). Of several processes one at a time does it (`Lease`).
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import DatabaseError

from channels_app.conf import conf
from channels_app.models import Channel

from . import directory, log, metrics, tenancy
from .database import at_leisure, in_thread

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.005
PAGE = 100  # channels that are looked at together

Progress = Callable[[str], None]
Pause = Callable[[], None]


class Stopped(Exception):
    """The process ends. What this sweep leaves, the next one removes."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep removed: channels whose time had come; messages that retention ended; rows of deleted channels."""

    channels: int = 0
    messages: int = 0
    purged: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """What a channel keeps: seconds, and messages. 0: no limit."""

    age: int
    count: int

    @property
    def cutoff(self) -> int | None:
        """What was made before this time (microseconds) may go."""
        return log.now_us() - self.age * 1_000_000 if self.age else None

    def lets_go(self, messages: int, oldest: int) -> bool:
        """Something of so many messages, the oldest of which was made at that time."""
        too_old = self.cutoff is not None and oldest < self.cutoff
        return too_old or 0 < self.count < messages


async def run_forever() -> None:
    """The server's own housekeeping: a sweep every `conf.RETENTION_INTERVAL` seconds, if no other process does it."""
    ending = False

    def pause() -> None:
        if ending:
            raise Stopped
        rest()

    try:
        while True:
            await asyncio.sleep(conf.RETENTION_INTERVAL)
            try:
                await in_thread(directory.write_last_used)
                if await in_thread(log.take_lease, "retention", 0.9 * conf.RETENTION_INTERVAL):
                    await at_leisure(functools.partial(sweep, pause=pause))
            except DatabaseError as error:
                logger.warning("Retention waits for the database: %s", error)
    finally:
        ending = True  # nothing cancels a thread, and the interpreter waits for it


def rest() -> None:
    time.sleep(PAUSE_SECONDS)


def sweep(progress: Progress | None = None, pause: Pause = rest) -> Swept:
    """Remove now all that need not be kept. `progress` is called with a line of text now and then, `pause` between batches."""
    report = progress or (lambda _line: None)
    tenancy.end_overlaps()
    channels = tenancy.remove_expired(Channel.with_expired.all(), pause=pause)
    messages = sum(_trim_channel(channel_id, rule, report, pause) for channel_id, rule in _due(pause))
    for _ in log.expire_idempotency_keys(limit=conf.RETENTION_BATCH):
        pause()
    purged = sum(_purge_channel(channel_id, report, pause) for channel_id in log.dropped_channels())
    return Swept(channels, messages, purged)


def _due(pause: Pause) -> Iterator[tuple[int, Rule]]:
    """The channels that hold something which may go, with their rules. Those that do not cost no statement of their own."""
    after = 0
    while page := log.held(after, PAGE):
        rules = _rules([channel_id for channel_id, _, _ in page])
        for channel_id, messages, oldest in page:
            rule = rules.get(channel_id)
            if rule is not None and rule.lets_go(messages, oldest):
                yield channel_id, rule
        after, _, _ = page[-1]
        pause()


def _rules(channel_ids: list[int]) -> dict[int, Rule]:
    rows = Channel.objects.filter(pk__in=channel_ids).values_list(
        "id", "retention_age", "retention_count", "instance__retention_age", "instance__retention_count"
    )
    return {
        channel_id: Rule(_first(age, instance_age, conf.RETENTION_AGE), _first(count, instance_count, conf.RETENTION_COUNT))
        for channel_id, age, count, instance_age, instance_count in rows
    }


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _trim_channel(channel_id: int, rule: Rule, report: Progress, pause: Pause) -> int:
    total, cutoff = 0, rule.cutoff
    while removed := log.trim(channel_id, older_than=cutoff, keep=rule.count or None, limit=conf.RETENTION_BATCH):
        total += removed
        metrics.MESSAGE_ROWS.inc(removed)
        report(f"channel {channel_id}: {total} messages removed")
        if removed < conf.RETENTION_BATCH:
            break
        pause()
    return total


def _purge_channel(channel_id: int, report: Progress, pause: Pause) -> int:
    total = 0
    for removed in log.purge(channel_id, limit=conf.RETENTION_BATCH):
        total += removed
        metrics.PURGED_ROWS.inc(removed)
        report(f"deleted channel {channel_id}: {total} rows removed")
        pause()
    pause()  # also when there was no row: many may have been deleted empty
    return total
