"""The laws of the log: ids without holes, rooms that know what came before, one outcome per entry."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import InternalError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from channels_app.conf import conf
from channels_app.core import batcher, log, notifier, publishing, tenancy
from channels_app.core.database import with_connection
from channels_app.core.errors import Conflict, Invalid, NotFound, PublishDisabled, StoreFull, StoreUnavailable
from channels_app.core.log import Entry
from channels_app.core.types import ALL_ROOMS, Draft, Receipt
from channels_app.models import Channel

from .conftest import publish, publish_many


def draft(payload="{}", **fields):
    return Draft(payload, '{"admin":1}', **fields)


def ids(channel, room=ALL_ROOMS):
    return [message.id for message in log.read_after(channel.id, room, 0, 1000)]


def test_ids_start_at_1_and_grow_by_1_per_channel(channel, rooms):
    assert publish_many(channel, 3) == [1, 2, 3]
    assert publish_many(rooms, 2, room="a") == [1, 2]
    assert publish(channel).message.id == 4


def test_concurrent_publishes_leave_no_hole_and_no_repeat(channel, rooms):
    def work(index):
        target, room = (channel, "") if index % 2 else (rooms, f"r{index % 3}")
        return target.id, publish(target, room=room).message.id

    with ThreadPoolExecutor(16) as pool:
        given = list(pool.map(work, range(80)))
    for target in (channel, rooms):
        assert sorted(id_ for channel_id, id_ in given if channel_id == target.id) == list(range(1, 41))
        assert ids(target) == list(range(1, 41))


def test_each_message_knows_the_id_before_it_in_its_own_room(rooms):
    for room in ("a", "b", "a", "a", "b"):
        publish(rooms, room=room)
    assert [m.previous_id for m in log.read_after(rooms.id, "a", 0, 10)] == [0, 1, 3]
    assert [m.previous_id for m in log.read_after(rooms.id, "b", 0, 10)] == [0, 2]


def test_one_batch_gives_each_entry_its_own_outcome(channel, rooms):
    outcomes = log.append(
        [Entry(channel.id, draft()), Entry(10**9, draft()), Entry(rooms.id, draft(room="a")), Entry(channel.id, draft())]
    )
    assert isinstance(outcomes[1], NotFound)
    assert [o.message.id for o in outcomes if isinstance(o, Receipt)] == [1, 1, 2]
    assert log.head(channel.id, "").last_id == 2


def test_a_batch_over_many_channels_takes_as_many_statements_as_one_over_one(make_channel):
    many = [make_channel(f"hall-{n}", type=Channel.Type.SEPARATE_ROOMS) for n in range(20)]

    def statements(channels):
        with CaptureQueriesContext(connection) as captured:
            entries = [Entry(each.id, draft(room="a", idempotency_key=str(n))) for each in channels for n in range(2)]
            assert [outcome.message.id for outcome in log.append(entries)] == [1, 2] * len(channels)
        return len(captured)

    assert statements(many[:1]) == statements(many[1:])


def test_a_batch_larger_than_a_statement_is_stored_whole(rooms):
    entries = [Entry(rooms.id, draft(room=f"r{n}", idempotency_key=str(n))) for n in range(501)]
    assert [outcome.message.id for outcome in log.append(entries)] == list(range(1, 502))
    assert all(outcome.duplicate for outcome in log.append(entries))
    assert log.heads([(rooms.id, f"r{n}") for n in range(501)])[rooms.id, "r500"].last_id == 501


@pytest.mark.skipif(connection.vendor == "sqlite", reason="one writer at a time")
@pytest.mark.parametrize("key", ["", "k"])
def test_a_batch_locks_its_channels_in_ascending_order(make_channel, key):
    """Whatever the order of its entries, and of the rows on the disk: so two batches cannot wait for each other."""
    low, high = make_channel("low"), make_channel("high")
    publish(low)  # an update moves its row behind the other's
    entries = [Entry(high.id, draft(idempotency_key=key)), Entry(low.id, draft())]
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            log.append([Entry(low.id, draft())])
            batch = pool.submit(with_connection, log.append, entries)
            with connection.cursor() as cursor:
                while not cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                    assert not batch.done()
                cursor.execute(f"SELECT 1 FROM {log.COUNTER} WHERE channel_id = %s FOR UPDATE NOWAIT", [high.id])
        assert [outcome.message.id for outcome in batch.result()] == [1, 3]


def test_an_entry_the_database_refuses_does_not_fail_its_neighbours(channel):
    too_long = draft(action="x" * 17) if connection.vendor == "postgresql" else draft(action=None)  # type: ignore[arg-type]
    outcomes = publishing.append_each([Entry(channel.id, each) for each in (draft(), too_long, draft())])
    assert [isinstance(outcome, Receipt) for outcome in outcomes] == [True, False, True]
    assert ids(channel) == [1, 2], "and it burnt no id"


def test_text_that_no_database_can_store_fails_alone(channel):
    no_text = draft(payload='{"half": "\ud800"}')
    outcomes = publishing.append_each([Entry(channel.id, each) for each in (draft(), no_text, draft())])
    assert [type(outcome) for outcome in outcomes] == [Receipt, Invalid, Receipt]
    assert [outcomes[0].message.id, outcomes[2].message.id] == [1, 2]


def test_a_publish_joins_the_callers_transaction(channel, monkeypatch):
    announced = []
    monkeypatch.setattr(notifier, "announce", lambda hints: announced.extend(hints))
    with transaction.atomic():
        assert publish(channel).message.id == 1
        assert announced == [], "readers are told on commit"
    assert [hint.last_id for hint in announced] == [1]


def test_a_publish_in_a_transaction_that_is_rolled_back_never_was(channel):
    with transaction.atomic():
        publish(channel)
        transaction.set_rollback(True)
    assert ids(channel) == []
    assert publish(channel).message.id == 1


def test_a_failing_announcement_does_not_fail_the_publish(channel, monkeypatch, caplog):
    def broken(hints):
        raise RuntimeError("no layer")

    monkeypatch.setattr(notifier, "announce", broken)
    assert publish(channel).message.id == 1
    assert "no layer" in caplog.text


def test_saving_a_channel_cannot_write_an_old_counter_back(channel):
    row = Channel.objects.get(pk=channel.id)
    publish_many(channel, 2)
    row.description = "edited meanwhile"
    row.save()
    assert publish(channel).message.id == 3


def test_a_channel_without_custom_publish_refuses_even_a_manager(make_channel):
    closed = make_channel("closed", custom_publish=False)
    with pytest.raises(PublishDisabled):
        publish(closed)
    assert ids(closed) == []


# Idempotency keys


def test_the_same_idempotency_key_gets_the_same_id(channel):
    first = publish(channel, '{"a":1}', idempotency_key="k")
    publish(channel)
    again = publish(channel, '{"a":1}', idempotency_key="k")
    assert not first.duplicate
    assert again.duplicate
    assert again.message == first.message
    assert ids(channel) == [1, 2]


def test_twins_in_one_batch_are_stored_once(channel):
    twins = [Entry(channel.id, draft(idempotency_key="k"))] * 3
    outcomes = log.append(twins)
    assert [(o.message.id, o.duplicate) for o in outcomes] == [(1, False), (1, True), (1, True)]


def test_concurrent_twins_are_stored_once(channel):
    with ThreadPoolExecutor(9) as pool:
        receipts = list(pool.map(lambda n: publish(channel, idempotency_key=f"k{n % 3}"), range(9)))
    assert len(ids(channel)) == 3
    assert sum(not receipt.duplicate for receipt in receipts) == 3


def test_an_idempotency_key_for_another_message_is_a_conflict(channel):
    publish(channel, '{"a":1}', idempotency_key="k")
    with pytest.raises(Conflict):
        publish(channel, '{"a":2}', idempotency_key="k")
    assert ids(channel) == [1]


def test_an_idempotency_key_belongs_to_its_author(channel):
    first, second = (
        Entry(channel.id, Draft("{}", '{"admin":1}', idempotency_key="k")),
        Entry(channel.id, Draft("{}", '{"admin":2}', idempotency_key="k")),
    )
    assert [outcome.duplicate for outcome in log.append([first, second])] == [False, False]


def test_a_key_that_is_repeated_in_a_deleted_channel_finds_no_channel(channel):
    publish(channel, idempotency_key="k")
    tenancy.delete_channel(Channel.objects.get(pk=channel.id))
    with pytest.raises(NotFound):
        publish(channel, idempotency_key="k")


def test_an_expired_idempotency_key_is_forgotten(channel, settings):
    publish(channel, idempotency_key="k")
    settings.PUBSUB = {"IDEMPOTENCY_TTL": 0}
    assert not publish(channel, idempotency_key="k").duplicate
    assert list(log.expire_idempotency_keys(limit=10)) == [1]
    assert list(log.expire_idempotency_keys(limit=10)) == []


# Reading


def test_pages_go_both_ways(channel):
    publish_many(channel, 10)
    assert [m.id for m in log.read_after(channel.id, ALL_ROOMS, 4, 3)] == [5, 6, 7]
    assert [m.id for m in log.read_before(channel.id, ALL_ROOMS, 5, 3)] == [4, 3, 2]
    assert [m.id for m in log.read_before(channel.id, ALL_ROOMS, 5, 3, above=3)] == [4]


def test_heads_answer_for_many_rooms_at_once_and_leave_out_what_is_gone(channel, rooms):
    publish_many(rooms, 2, room="a")
    publish_many(rooms, 1, room="b")
    keys = [(rooms.id, "a"), (rooms.id, "b"), (rooms.id, "never"), (rooms.id, ALL_ROOMS), (channel.id, ""), (10**9, "")]
    heads = log.heads(keys)
    assert {key: (head.last_id, head.top_id) for key, head in heads.items()} == {
        (rooms.id, "a"): (2, 3),
        (rooms.id, "b"): (3, 3),
        (rooms.id, "never"): (0, 3),
        (rooms.id, ALL_ROOMS): (3, 3),
        (channel.id, ""): (0, 0),
    }


def test_a_message_is_found_by_id_in_its_own_channel_only(channel, rooms):
    publish(channel)
    assert log.get(channel.id, 1).id == 1
    for other, id_ in ((rooms, 1), (channel, 2)):
        with pytest.raises(NotFound):
            log.get(other.id, id_)


# A channel's life


def test_a_channel_made_again_starts_empty_at_1_under_another_epoch(channel, make_channel):
    publish_many(channel, 3)
    epoch = log.head(channel.id, "").epoch
    tenancy.delete_channel(Channel.objects.get(pk=channel.id))
    with pytest.raises(NotFound):
        publish(channel)
    again = make_channel()
    assert ids(again) == []
    assert publish(again).message.id == 1
    assert log.head(again.id, "").epoch != epoch


def test_built_in_channels_go_only_with_their_instance(instance):
    built_in = Channel.objects.get(instance=instance, name="default")
    with pytest.raises(Conflict):
        tenancy.delete_channel(built_in)
    tenancy.delete_instance(instance)
    with pytest.raises(NotFound):
        log.head(built_in.pk, "")


# What a database error means


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("database or disk is full", StoreFull),
        ("could not extend file: No space left on device", StoreFull),
        ("database is locked", StoreUnavailable),
        ("server closed the connection unexpectedly", StoreUnavailable),
    ],
)
def test_a_database_error_is_told_apart(text, meaning):
    assert type(log.store_error(OperationalError(text))) is meaning


def test_a_database_that_does_not_answer_is_a_retryable_error(channel, monkeypatch):
    def broken(entries):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(log, "append", broken)
    with pytest.raises(StoreUnavailable) as caught:
        publish(channel)
    assert caught.value.retryable


@pytest.mark.skipif(not conf.GROUP_COMMIT, reason="nothing waits for a lane")
def test_a_publish_that_waited_too_long_is_not_stored_behind_its_publishers_back(channel, monkeypatch, settings):
    settings.PUBSUB = {"PUBLISH_TIMEOUT": 0.2}
    entered, opened = threading.Event(), threading.Event()
    append = log.append

    def slow(entries):
        entered.set()
        assert opened.wait(10)
        return append(entries)

    monkeypatch.setattr(log, "append", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(publish, channel)
        assert entered.wait(10)
        with pytest.raises(StoreUnavailable):
            publish(channel)
        opened.set()
        assert isinstance(first.exception(10), StoreUnavailable), "its outcome is unknown: it had been taken"
    publishing.close_lanes()
    assert ids(channel) == [1]


def lent() -> int:
    """How many of the pool's connections somebody has."""
    stats = connection.pool.get_stats()
    return stats["pool_size"] - stats["pool_available"]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="has no pool of connections")
@pytest.mark.skipif(not conf.GROUP_COMMIT, reason="without group commit there are no lanes")
def test_who_waits_for_a_lane_leaves_all_connections_to_it(channel, monkeypatch):
    append, during = log.append, []

    def count(entries):
        connection.ensure_connection()
        during.append(lent())
        return append(entries)

    monkeypatch.setattr(log, "append", count)
    publishing.close_lanes()
    connection.close()
    before = lent()
    assert log.head(channel.id, "").last_id == 0, "now this thread has a connection, as a view has that looked up a key"
    publish(channel)
    assert during == [before + 1]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="has no pool of connections")
@pytest.mark.skipif(not conf.GROUP_COMMIT, reason="without group commit there are no lanes")
def test_a_lane_keeps_its_connection_while_it_is_busy_and_gives_it_back(channel, monkeypatch):
    monkeypatch.setattr(batcher, "REST_SECONDS", 0.5)
    connection.close()
    before = lent()
    publish(channel)
    assert lent() == before + 1
    for _ in range(100):
        if lent() == before:
            break
        time.sleep(0.05)
    assert lent() == before, "it rests"
    publish(channel)
    publishing.close_lanes()
    assert lent() == before, "it has ended"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="has one database, which is always the primary")
@pytest.mark.parametrize("error", [OperationalError, InternalError], ids=lambda error: error.__name__)
def test_a_server_that_takes_nothing_any_more_is_asked_no_second_time(channel, monkeypatch, error):
    append, asked = log.append, []

    def demoted(entries):
        connection.ensure_connection()
        asked.append(connection.connection)
        if len(asked) == 1:
            raise error("cannot execute UPDATE in a read-only transaction")
        return append(entries)

    monkeypatch.setattr(log, "append", demoted)
    publishing.append_each([Entry(channel.id, draft())] * 2)
    assert connection.connection is not asked[0]


def test_after_a_restored_backup_every_channel_has_another_epoch_and_goes_on_counting(channel, rooms):
    publish_many(channel, 2)
    before = {each.id: log.head(each.id, ALL_ROOMS).epoch for each in (channel, rooms)}
    assert log.renew_epochs() == 4, "the instance's built-in channels too"
    assert all(log.head(id_, ALL_ROOMS).epoch != epoch for id_, epoch in before.items())
    assert publish(channel).message.id == 3
