"""What need not be kept goes, from the front, in batches; what must be kept stays."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from channels_app.core import log, retention, tenancy
from channels_app.core.types import ALL_ROOMS
from channels_app.models import Channel, Counter, IdempotencyKey, Message, Purge, RoomHead

from .conftest import publish, publish_many

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
