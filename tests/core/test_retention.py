"""What need not be kept goes, from the front, in batches; what must be kept stays."""

import asyncio
import re
import threading
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from channels_app.core import directory, hub, log, retention, tenancy
from channels_app.core.credentials import Credentials
from channels_app.core.directory import ChannelInfo
from channels_app.core.errors import NotFound
from channels_app.core.subscriber import Access, SubscriberClosed
from channels_app.core.types import ALL_ROOMS, CHANNEL_DELETED, REVOKED
from channels_app.models import Channel, Counter, IdempotencyKey, Message, Purge, RoomHead

from .conftest import apublish_many, publish, publish_many

DAY = 86_400


def kept(channel):
    return [message.id for message in log.read_after(channel.id, ALL_ROOMS, 0, 1000)]


def age(channel, days, *, through):
    """Make the messages up to that id look that old."""
    Message.objects.filter(channel_id=channel.id, id__lte=through).update(created_at=log.now_us() - days * DAY * 1_000_000)


def test_messages_older_than_30_days_go_by_default(channel):
    publish_many(channel, 5)
    age(channel, 31, through=3)
    assert retention.sweep().messages == 3
    assert kept(channel) == [4, 5]
    assert publish(channel).message.id == 6, "ids are never used again"


@pytest.mark.parametrize(
    ("of_channel", "of_instance", "left"),
    [
        ({}, {}, 5),
        ({}, {"retention_age": 7 * DAY}, 2),
        ({"retention_age": 20 * DAY}, {"retention_age": 7 * DAY}, 5),
        ({"retention_age": 0}, {"retention_age": 7 * DAY}, 5),
        ({"retention_count": 4}, {}, 4),
        ({}, {"retention_count": 3}, 3),
        ({"retention_count": 4, "retention_age": 7 * DAY}, {}, 2),
        ({"retention_count": 0}, {"retention_count": 3}, 5),
    ],
)
def test_a_channel_keeps_what_it_or_its_instance_says(make_channel, instance, of_channel, of_instance, left):
    channel = make_channel(**of_channel)
    type(instance).objects.filter(pk=instance.pk).update(**of_instance)
    publish_many(channel, 5)
    age(channel, 10, through=3)
    retention.sweep()
    assert len(kept(channel)) == left


def test_for_ever_is_for_ever(make_channel):
    channel = make_channel(retention_age=0)
    publish(channel)
    age(channel, 36_500, through=1)
    retention.sweep()
    assert kept(channel) == [1]


def test_only_the_front_goes_even_when_the_clock_went_back(channel):
    publish_many(channel, 3)
    Message.objects.filter(channel_id=channel.id, id=2).update(created_at=0)
    retention.sweep()
    assert kept(channel) == [1, 2, 3]


def test_a_sweep_goes_in_bounded_batches(channel, settings):
    settings.PUBSUB = {"RETENTION_BATCH": 10, "RETENTION_COUNT": 5}
    publish_many(channel, 35)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        lines = []
        assert retention.sweep(lines.append).messages == 30
    deletes = [query for query in queries if query["sql"].startswith(f"DELETE FROM {log.MESSAGE}")]
    assert len(deletes) == 3
    assert len(lines) == 3
    assert kept(channel) == [31, 32, 33, 34, 35]


def test_a_sweep_with_nothing_to_do_takes_no_lock(channel):
    publish_many(channel, 3)
    with CaptureQueriesContext(connection) as queries:
        retention.sweep()
    assert not [query["sql"] for query in queries if query["sql"].startswith(("UPDATE", "DELETE", "BEGIN"))]


def statements_of_a_sweep():
    with CaptureQueriesContext(connection) as queries:
        retention.sweep()
    return len(queries)


def test_channels_of_which_nothing_goes_cost_a_sweep_no_statements(make_channel):
    publish(make_channel("novigrad"))
    before = statements_of_a_sweep()
    for number in range(20):
        channel = make_channel(f"channel-{number}", retention_count=2)
        publish_many(channel, number % 3)
    assert statements_of_a_sweep() == before


def test_channels_are_looked_at_page_by_page(make_channel, monkeypatch):
    monkeypatch.setattr(retention, "PAGE", 2)
    channels = [make_channel(f"channel-{number}", retention_count=1) for number in range(5)]
    for channel in channels:
        publish_many(channel, 2)
    assert retention.sweep().messages == 5
    assert [kept(channel) for channel in channels] == [[2]] * 5


def test_a_deleted_channels_rows_go_afterwards(rooms, settings):
    settings.PUBSUB = {"RETENTION_BATCH": 4}
    for room in "abcdef":
        publish(rooms, room=room, idempotency_key=room)
    tenancy.delete_channel(Channel.objects.get(pk=rooms.id))
    assert not Counter.objects.filter(channel_id=rooms.id).exists(), "gone for every reader at once"
    assert Message.objects.filter(channel_id=rooms.id).count() == 6
    assert retention.sweep().purged == 18
    for model in (Message, RoomHead, IdempotencyKey, Purge):
        assert not model.objects.filter(channel_id=rooms.id).exists()


def rows_of(channel):
    tables = (Message, RoomHead, IdempotencyKey, Purge)
    return [model.objects.filter(channel_id=channel.id).count() for model in tables]


def test_a_purge_that_was_interrupted_is_finished_by_the_next_sweep(rooms):
    for room in "abc":
        publish(rooms, room=room, idempotency_key=room)
    tenancy.delete_channel(Channel.objects.get(pk=rooms.id))
    assert next(log.purge(rooms.id, limit=2)) == 2
    assert rows_of(rooms) == [1, 3, 3, 1]
    assert retention.sweep().purged == 7
    assert rows_of(rooms) == [0, 0, 0, 0]


def test_a_deleted_channel_that_was_trimmed_goes_to_its_end(channel):
    publish_many(channel, 9)
    log.trim(channel.id, older_than=None, keep=5, limit=100)
    tenancy.delete_channel(Channel.objects.get(pk=channel.id))
    assert list(log.purge(channel.id, limit=2)) == [2, 2, 1]
    assert rows_of(channel) == [0, 0, 0, 0]


def test_the_channels_beside_a_deleted_one_keep_their_rows(make_channel):
    before, deleted, after = (make_channel(name, type=Channel.Type.SEPARATE_ROOMS) for name in ("vizima", "cintra", "novigrad"))
    for channel in (before, deleted, after):
        for room in "abc":
            publish(channel, room=room, idempotency_key=room)
    tenancy.delete_channel(Channel.objects.get(pk=deleted.id))
    assert retention.sweep().purged == 9
    assert rows_of(before) == rows_of(after) == [3, 3, 3, 0]


def test_rooms_go_in_whatever_order_the_database_has_them(rooms):
    for room in ("b", "B", "a", "A", "ä", "Z", "-", "_", "10", "9", "a b", "魔"):
        publish(rooms, room=room)
    tenancy.delete_channel(Channel.objects.get(pk=rooms.id))
    assert list(log.purge(rooms.id, limit=1)) == [1] * 24
    assert rows_of(rooms) == [0, 0, 0, 0]


def removed_ids(queries):
    """From where to where each statement looked for messages to remove."""
    found = (re.search(rf"^DELETE FROM {log.MESSAGE} .* id > (\d+) AND id <= (\d+)", query["sql"]) for query in queries)
    return [(int(each[1]), int(each[2])) for each in found if each]


def test_a_batch_does_not_look_at_what_the_ones_before_it_removed(channel, settings):
    settings.PUBSUB = {"RETENTION_BATCH": 2, "RETENTION_COUNT": 4}
    publish_many(channel, 8)
    with CaptureQueriesContext(connection) as queries:
        retention.sweep()
    assert removed_ids(queries) == [(0, 2), (2, 4)]
    publish(channel)
    tenancy.delete_channel(Channel.objects.get(pk=channel.id))
    with CaptureQueriesContext(connection) as queries:
        retention.sweep()
    assert removed_ids(queries) == [(4, 6), (6, 8), (8, 10)]


@pytest.fixture
def unknown_to_statistics(make_channel) -> ChannelInfo:
    """A channel of 10,000 messages that came after PostgreSQL looked what there is."""
    if connection.vendor == "sqlite":
        pytest.skip("not applicable: SQLite keeps no statistics by itself")
    known, new = make_channel("cintra"), make_channel("novigrad")
    publish_many(known, 3)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {log.MESSAGE}")
        cursor.execute(
            f"INSERT INTO {log.MESSAGE} ({log.COLUMNS})"
            f" SELECT {new.id}, id, id - 1, '', 0, 'custom', '{{}}', '{{}}', '{{}}' FROM generate_series(1, 10000) AS id"
        )
    return new


def plan_of(queries: CaptureQueriesContext, part: str) -> str:
    (statement,) = [query["sql"] for query in queries if part in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        return str(cursor.fetchall())


def test_a_purge_goes_by_ids_also_when_the_statistics_do_not_know_the_channel(unknown_to_statistics):
    with CaptureQueriesContext(connection) as queries:
        assert list(log.purge(unknown_to_statistics.id, limit=5000)) == [5000, 5000]
    assert f"using {log.MESSAGE}_pkey" in plan_of(queries, "id > 5000")


def test_a_message_is_found_by_its_id_also_when_the_statistics_do_not_know_the_channel(unknown_to_statistics):
    with CaptureQueriesContext(connection) as queries:
        assert log.get(unknown_to_statistics.id, 9_000).id == 9_000
    assert f"using {log.MESSAGE}_pkey" in plan_of(queries, "id = 9000")


def test_idempotency_keys_go_when_their_time_is_over(channel, settings):
    settings.PUBSUB = {"RETENTION_BATCH": 2, "IDEMPOTENCY_TTL": DAY}
    for key in "abcdefg":
        publish(channel, idempotency_key=key)
    IdempotencyKey.objects.filter(message_id__lte=5).update(created_at=log.now_us() - 2 * DAY * 1_000_000)
    retention.sweep()
    assert sorted(IdempotencyKey.objects.values_list("message_id", flat=True)) == [6, 7]


def test_the_rows_of_an_owners_channels_go_when_the_owner_is_deleted(channel, owner):
    publish_many(channel, 3)
    owner.delete()
    retention.sweep()
    assert not Message.objects.exists()
    assert not Counter.objects.exists()


def test_one_process_at_a_time_keeps_house(transactional_db):
    assert log.take_lease("retention", 60)
    assert not log.take_lease("retention", 60)
    assert log.take_lease("something else", 60)


HOUR = timedelta(hours=1)


@pytest.fixture
def later(monkeypatch):
    """Let so much time pass."""
    now = timezone.now

    def later(by):
        monkeypatch.setattr(timezone, "now", lambda: now() + by)

    return later


def test_a_channel_whose_time_has_come_goes_with_all_that_was_in_it(make_channel, later):
    channel = make_channel("cintra", expires_at=timezone.now() + HOUR)
    publish_many(channel, 3)
    assert retention.sweep().channels == 0
    later(HOUR)
    assert retention.sweep().channels == 1
    assert not Channel.with_expired.filter(pk=channel.id).exists()
    assert not Message.objects.filter(channel_id=channel.id).exists()


def test_the_name_of_an_expired_channel_is_free_before_it_is_swept(make_channel, later):
    first = make_channel("cintra", expires_at=timezone.now() + HOUR)
    later(HOUR)
    assert not Channel.objects.filter(name="cintra").exists()
    second = make_channel("cintra")
    assert second.id != first.id
    assert publish(second).message.id == 1


def test_what_has_expired_does_not_come_back(make_channel, later):
    channel = make_channel("cintra", expires_at=timezone.now() + HOUR)
    later(HOUR)
    with pytest.raises(NotFound):
        tenancy.set_lifetime(channel.id, None)


def test_a_channel_can_be_given_more_time(make_channel, later):
    channel = make_channel("cintra", expires_at=timezone.now() + HOUR)
    tenancy.set_lifetime(channel.id, None)
    later(HOUR)
    assert retention.sweep().channels == 0
    assert Channel.objects.filter(pk=channel.id).exists()


async def test_a_sweep_ends_with_its_process(channel, settings, monkeypatch):
    """Nobody waits for a thread that has all night."""
    settings.PUBSUB = {"RETENTION_INTERVAL": 0.01, "RETENTION_BATCH": 1, "RETENTION_COUNT": 1}
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.02)
    await apublish_many(channel, 100)
    begun, ended, sweep = threading.Event(), threading.Event(), retention.sweep

    def until_it_ends(*arguments, **options):
        begun.set()
        try:
            return sweep(*arguments, **options)
        finally:
            ended.set()

    monkeypatch.setattr(retention, "sweep", until_it_ends)
    keeping_house = asyncio.create_task(retention.run_forever())
    assert await asyncio.to_thread(begun.wait, 10)
    keeping_house.cancel()
    assert await asyncio.to_thread(ended.wait, 10)
    assert len(await sync_to_async(kept)(channel)) > 1


async def test_who_reads_an_expired_channel_is_told_that_it_is_gone(make_channel, later):
    channel = await sync_to_async(make_channel)("cintra", expires_at=timezone.now() + HOUR)
    async with hub.subscribe(channel.id, "", after=None) as subscriber:
        later(HOUR)
        await sync_to_async(retention.sweep)()
        with pytest.raises(SubscriberClosed) as closed:
            await subscriber.next()
    assert closed.value.reason is CHANNEL_DELETED


def reader(channel, secret):
    return Access(Credentials.of(secret.text), channel, directory.as_of())


async def test_connections_made_with_an_old_secret_end_with_its_overlap_and_those_with_the_new_one_stay(
    channel, instance, settings, later
):
    settings.PUBSUB = {"SAFETY_POLL": 0.05}
    row, old = await sync_to_async(tenancy.create_api_key)(instance, ignore_acl=True)
    new = await sync_to_async(tenancy.rotate_api_key)(row, overlap=HOUR)
    accesses = [await sync_to_async(reader)(channel, secret) for secret in (old, new)]
    async with (
        hub.subscribe(channel.id, "", access=accesses[0]) as gone,
        hub.subscribe(channel.id, "", access=accesses[1]) as on,
    ):
        await sync_to_async(retention.sweep)()
        await apublish_many(channel, 1)
        assert len(await gone.next()) == len(await on.next()) == 1
        later(HOUR)
        await sync_to_async(retention.sweep)()
        with pytest.raises(SubscriberClosed) as closed:
            async with asyncio.timeout(10):
                await gone.next()
        assert closed.value.reason is REVOKED
        await apublish_many(channel, 1)
        assert len(await on.next()) == 1


def test_an_old_secret_is_forgotten_once(instance, later):
    row, _ = tenancy.create_api_key(instance)
    tenancy.rotate_api_key(row, overlap=HOUR)
    later(HOUR)
    retention.sweep()
    row.refresh_from_db()
    assert (row.previous_digest, row.previous_expires_at) == (None, None)
    before = directory.version()
    retention.sweep()
    assert directory.version() == before, "nobody is asked again for nothing"
