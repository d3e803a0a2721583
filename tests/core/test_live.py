"""Live delivery: every subscriber gets each message of its room after its position once and in order, or one notice."""

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from channels_app.core import dispatcher, hub, log, notifier, publishing
from channels_app.core import subscriber as subscriber_module
from channels_app.core.types import (
    ALL_ROOMS,
    Gap,
    GapReason,
    Position,
    Recovery,
)
from channels_app.models import Counter

from .conftest import apublish, apublish_many, hint_of, take, take_ids

pytestmark = pytest.mark.usefixtures("ending_hub")


async def nothing_waits(subscriber):
    """A message published now is the next one: nothing else was on its way."""
    channel_id, room = subscriber.channel_id, subscriber.room
    await sync_to_async(log.append)([log.Entry(channel_id, log.Draft('{"probe":1}', "{}", room or ""))])
    return (await take(subscriber, 1))[0].payload == '{"probe":1}'


async def test_without_a_position_only_what_comes_is_delivered(channel):
    await apublish_many(channel, 3)
    async with hub.subscribe(channel.id, "") as subscriber:
        await apublish(channel)
        assert await take_ids(subscriber, 1) == [4]


async def test_with_a_position_history_comes_first_then_what_comes(channel):
    await apublish_many(channel, 5)
    async with hub.subscribe(channel.id, "", after=Position(2)) as subscriber:
        assert await take_ids(subscriber, 3) == [3, 4, 5]
        await apublish(channel)
        assert await take_ids(subscriber, 1) == [6]
        assert subscriber.recovery is Recovery.COMPLETE


async def test_history_longer_than_a_page_is_read_page_by_page(channel):
    await sync_to_async(log.append)([log.Entry(channel.id, log.Draft("{}", "{}"))] * 1500)
    async with hub.subscribe(channel.id, "", after=Position(0)) as subscriber:
        await apublish(channel)
        assert await take_ids(subscriber, 1501) == list(range(1, 1502))


async def test_a_room_hears_only_itself_and_all_rooms_hear_all(rooms):
    async with hub.subscribe(rooms.id, "a") as one, hub.subscribe(rooms.id, ALL_ROOMS) as everything:
        for room in ("a", "b", "a", "b"):
            await apublish(rooms, room=room)
        assert await take_ids(one, 2) == [1, 3]
        assert await take_ids(everything, 4) == [1, 2, 3, 4]


async def test_every_subscriber_gets_every_message_once_and_in_order_while_many_publish(channel):
    async with hub.subscribe(channel.id, "") as early:
        publishing = asyncio.gather(*(apublish_many(channel, 25) for _ in range(8)))

        async def join_at(position):
            async with hub.subscribe(channel.id, "", after=Position(position)) as subscriber:
                return await take_ids(subscriber, 200 - subscriber.joined_at)

        joining = asyncio.gather(*(join_at(position) for position in (0, 1, 5, 0, 2)))
        assert await take_ids(early, 200) == list(range(1, 201))
        await publishing
        for ids in await joining:
            assert ids == list(range(201 - len(ids), 201))


def lingering(read):
    """`read` as one that is done, and takes its time to say so: when it has read, and what lets it go on."""
    was_read, go_on = threading.Event(), threading.Event()

    def linger(*arguments):
        found = read(*arguments)
        was_read.set()
        go_on.wait(10)
        return found

    return linger, was_read, go_on


async def test_what_is_published_between_a_read_and_the_start_of_its_room_is_not_missed(channel, monkeypatch):
    linger, was_read, go_on = lingering(hub._read_start)

    async def join_and_take(count):
        async with hub.subscribe(channel.id, "") as subscriber:
            return await take_ids(subscriber, count)

    with monkeypatch.context() as patched:
        patched.setattr(hub, "_read_start", linger)
        early = asyncio.ensure_future(join_and_take(4))
        await asyncio.to_thread(was_read.wait, 10)
    await apublish_many(channel, 3)
    async with hub.subscribe(channel.id, ""):  # its room's dispatcher begins after these three
        go_on.set()
        await apublish(channel)
        assert await early == [1, 2, 3, 4]


# Commits and deliveries take turns


async def test_who_commits_can_wait_until_subscribers_were_written_what_was_announced(channel, silent, monkeypatch):
    monkeypatch.setattr(notifier, "HAND_ON_SECONDS", 10)
    written = []
    flush = dispatcher.Dispatcher._flush
    monkeypatch.setattr(dispatcher.Dispatcher, "_flush", lambda self: written.extend(self._outbox) or flush(self))

    here = hub.current()

    def announce(hint):
        here.advanced(hint)
        notifier.wait_until_handed_on()
        return [event.id for event in written]

    async with hub.subscribe(channel.id, ""):
        hint = await sync_to_async(hint_of)(channel, (await apublish(channel)).message)
        assert await asyncio.to_thread(announce, hint) == [1]


@pytest.mark.skipif(not publishing.conf.GROUP_COMMIT, reason="without group commit there are no lanes")
async def test_every_lane_waits_before_a_transaction(channel, monkeypatch):
    waits = []
    publishing.close_lanes()
    monkeypatch.setattr(notifier, "wait_until_handed_on", lambda: waits.append(1))
    await apublish(channel)
    publishing.close_lanes()
    assert waits == [1]


async def test_who_commits_waits_for_nobody_where_nobody_listens(channel, silent, monkeypatch):
    monkeypatch.setattr(notifier, "HAND_ON_SECONDS", None)  # for ever
    here = hub.current()
    hint = await sync_to_async(hint_of)(channel, (await apublish(channel)).message)
    async with asyncio.timeout(10):
        await asyncio.to_thread(lambda: here.advanced(hint) or notifier.wait_until_handed_on())


async def test_an_event_loop_that_stands_still_is_waited_for_once_an_announcement(channel, silent, monkeypatch):
    async with hub.subscribe(channel.id, "") as subscriber:
        monkeypatch.setattr(notifier, "HAND_ON_SECONDS", 0.001)
        hint = await sync_to_async(hint_of)(channel, (await apublish(channel)).message)
        hub.current().advanced(hint)
        notifier.wait_until_handed_on()  # in the loop's own thread: it cannot hand anything on meanwhile
        monkeypatch.setattr(notifier, "HAND_ON_SECONDS", None)  # for ever
        notifier.wait_until_handed_on()
        assert await take_ids(subscriber, 1) == [1]


async def test_other_processes_are_told_before_the_subscribers_here_are_written_to(channel, monkeypatch):
    order = []

    class Layer:
        async def send_to_groups(self, messages, sender):
            order.append("told")
            return set()

    async with hub.subscribe(channel.id, "") as subscriber:
        monkeypatch.setattr(notifier, "_layer", Layer)
        flush = dispatcher.Dispatcher._flush
        monkeypatch.setattr(dispatcher.Dispatcher, "_flush", lambda self: order.append("written") or flush(self))
        await apublish(channel)
        assert await take_ids(subscriber, 1) == [1]
        assert order == ["told", "written"]
        monkeypatch.undo()


# Hints are only hints


async def test_lost_hints_cost_the_safety_poll_and_no_message(channel, silent, settings):
    settings.PUBSUB = {"SAFETY_POLL": 0.05}
    async with hub.subscribe(channel.id, "") as subscriber:
        await apublish_many(channel, 5)
        assert await take_ids(subscriber, 5) == [1, 2, 3, 4, 5]


async def test_who_comes_while_the_inbox_is_closed_is_looked_after(channel, silent, settings, monkeypatch):
    settings.PUBSUB = {"SAFETY_POLL": 0.05}
    monkeypatch.setattr(hub, "IDLE_SECONDS", 0.0)
    closing, go_on = asyncio.Event(), asyncio.Event()

    async def close(inbox):
        closing.set()
        await go_on.wait()

    monkeypatch.setattr(notifier.Inbox, "close", close)
    async with hub.subscribe(channel.id, ""):
        pass
    await closing.wait()
    async with hub.subscribe(channel.id, "") as subscriber:
        go_on.set()
        await apublish(channel)
        assert await take_ids(subscriber, 1) == [1]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 1, 0, 0, 3, 3, 2), (3,), (0, 3)])
async def test_hints_may_be_repeated_reordered_and_lost(channel, silent, settings, order):
    settings.PUBSUB = {"SAFETY_POLL": 3600}
    async with hub.subscribe(channel.id, "") as subscriber:
        messages = [(await apublish(channel)).message for _ in range(4)]
        hints = [await sync_to_async(hint_of)(channel, message) for message in messages]
        for index in order:
            hub.current().advanced(hints[index])
        assert await take_ids(subscriber, 4) == [1, 2, 3, 4]


async def test_a_hint_without_messages_is_read_from_the_log(channel, silent, settings):
    settings.PUBSUB = {"SAFETY_POLL": 3600}
    async with hub.subscribe(channel.id, "") as subscriber:
        await apublish_many(channel, 3)
        hub.current().advanced(await sync_to_async(hint_of)(channel, last_id=3))
        assert await take_ids(subscriber, 3) == [1, 2, 3]


async def test_a_hint_that_tells_too_much_does_no_harm(channel, silent, settings):
    settings.PUBSUB = {"SAFETY_POLL": 3600}
    async with hub.subscribe(channel.id, "") as subscriber:
        hub.current().advanced(await sync_to_async(hint_of)(channel, last_id=99))
        message = (await apublish(channel)).message
        hub.current().advanced(await sync_to_async(hint_of)(channel, message))
        assert await take_ids(subscriber, 1) == [1]


async def test_a_message_that_is_told_of_while_a_gap_is_read_is_not_forgotten(channel, silent, settings, monkeypatch):
    settings.PUBSUB = {"SAFETY_POLL": 3600}
    linger, was_read, go_on = lingering(dispatcher.read_page)
    monkeypatch.setattr(dispatcher, "read_page", linger)
    async with hub.subscribe(channel.id, "") as subscriber:
        hub.current().advanced(await sync_to_async(hint_of)(channel, last_id=99))
        await asyncio.to_thread(was_read.wait, 10)
        message = (await apublish(channel)).message
        hub.current().advanced(await sync_to_async(hint_of)(channel, message))
        await asyncio.sleep(0)  # the hint is heard before the page is
        go_on.set()
        assert await take_ids(subscriber, 1) == [1]


# Slow readers


async def test_a_second_reader_is_refused_and_the_first_one_reads_on(channel):
    async with hub.subscribe(channel.id, "") as subscriber:
        first = asyncio.create_task(take_ids(subscriber, 1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="Another reader"):
            await subscriber.next()
        await apublish(channel)
        assert await first == [1]


async def test_a_reader_that_gave_up_in_the_middle_of_a_page_reads_it_the_next_time(channel, settings, monkeypatch):
    settings.PUBSUB = {"SAFETY_POLL": 3600, "SUBSCRIBER_BYTES": 200}
    async with hub.subscribe(channel.id, "") as subscriber:
        await apublish_many(channel, 20)  # more than waits for a reader: it reads from the log
        linger, was_read, go_on = lingering(subscriber_module.read_page)
        with monkeypatch.context() as patched:
            patched.setattr(subscriber_module, "read_page", linger)
            given_up = asyncio.create_task(subscriber.next())
            await asyncio.to_thread(was_read.wait, 10)
        given_up.cancel()
        go_on.set()
        await asyncio.wait({given_up})
        assert given_up.cancelled()
        assert not subscriber.rest(lambda: None)
        assert await take_ids(subscriber, 20) == list(range(1, 21))


async def test_a_slow_reader_falls_back_to_the_log_and_misses_nothing(channel, settings):
    settings.PUBSUB = {"SUBSCRIBER_BYTES": 2_000}
    async with hub.subscribe(channel.id, "") as slow, hub.subscribe(channel.id, "") as fast:
        received = []
        for _ in range(10):
            await apublish_many(channel, 10)
            received += await take_ids(fast, 10)
        assert received == list(range(1, 101))
        assert slow.buffered_bytes <= 2_000
        assert await take_ids(slow, 100) == list(range(1, 101))
        assert await nothing_waits(slow)


async def test_a_reader_is_given_no_more_of_the_log_at_once_than_it_may_hold(channel, settings):
    settings.PUBSUB = {"SUBSCRIBER_BYTES": 2_000}
    small, large = '"s"', f'"{"l" * 800}"'
    for payload in [small] * 10 + [large] * 10:
        await apublish(channel, payload)
    async with hub.subscribe(channel.id, "", after=Position(0)) as subscriber:
        ids = []
        while len(ids) < 20:
            events = await subscriber.next()
            assert sum(event.size for event in events) <= 2_000
            ids += [event.id for event in events]
        assert ids == list(range(1, 21))
        assert await nothing_waits(subscriber)


async def test_a_slow_reader_waits_for_a_log_that_is_away_and_misses_nothing(channel, settings, monkeypatch):
    settings.PUBSUB = {"SUBSCRIBER_BYTES": 500}
    read, failures = subscriber_module.read_page, iter([OperationalError("the database restarts")] * 2)

    def fail_twice(*arguments):
        for failure in failures:
            raise failure
        return read(*arguments)

    async with hub.subscribe(channel.id, "") as slow:
        await apublish_many(channel, 5)
        monkeypatch.setattr(subscriber_module, "read_page", fail_twice)
        monkeypatch.setattr(subscriber_module, "RETRY_SECONDS", 0.01)
        reading = asyncio.ensure_future(take_ids(slow, 7))
        await apublish_many(channel, 2)
        assert await reading == [1, 2, 3, 4, 5, 6, 7]


async def test_a_slow_reader_is_told_when_the_log_was_replaced_meanwhile(channel, settings):
    settings.PUBSUB = {"SUBSCRIBER_BYTES": 500, "SAFETY_POLL": 3600}
    async with hub.subscribe(channel.id, "") as slow:
        await apublish_many(channel, 5)
        await sync_to_async(Counter.objects.filter(channel_id=channel.id).update)(epoch="restored")
        (gap,) = await take(slow, 1)
        assert (gap.reason, gap.to_id) == (GapReason.EPOCH, 5)
        await apublish(channel)
        assert await take_ids(slow, 1) == [6]


# What is gone


async def test_a_resume_behind_what_was_trimmed_is_truncated_and_says_what_is_gone(channel):
    await apublish_many(channel, 10)
    await sync_to_async(log.trim)(channel.id, older_than=None, keep=4, limit=100)
    async with hub.subscribe(channel.id, "", after=Position(2)) as subscriber:
        assert subscriber.recovery is Recovery.TRUNCATED
        gap, *rest = await take(subscriber, 5)
        assert gap == Gap(3, 6, GapReason.TRIMMED)
        assert [message.id for message in rest] == [7, 8, 9, 10]


async def test_a_resume_is_complete_when_only_other_rooms_were_trimmed(rooms):
    await apublish(rooms, room="mine")
    await apublish_many(rooms, 5, room="theirs")
    await apublish(rooms, room="mine")
    await sync_to_async(log.trim)(rooms.id, older_than=None, keep=1, limit=100)
    async with hub.subscribe(rooms.id, "mine", after=Position(1)) as subscriber:
        assert subscriber.recovery is Recovery.COMPLETE
        assert await take_ids(subscriber, 1) == [7]


async def test_a_resume_whose_whole_room_is_gone_says_so(channel):
    await apublish_many(channel, 3)
    await sync_to_async(log.trim)(channel.id, older_than=None, keep=0, limit=100)
    async with hub.subscribe(channel.id, "", after=Position(1)) as subscriber:
        assert subscriber.recovery is Recovery.TRUNCATED
        assert await take(subscriber, 1) == [Gap(2, 3, GapReason.TRIMMED)]


async def test_a_resume_from_another_epoch_is_told_and_gets_all_there_is(channel):
    await apublish_many(channel, 2)
    async with hub.subscribe(channel.id, "", after=Position(50, "another")) as subscriber:
        assert subscriber.recovery is Recovery.OTHER_EPOCH
        gap, *messages = await take(subscriber, 3)
        assert gap.reason is GapReason.EPOCH
        assert [message.id for message in messages] == [1, 2]


async def test_the_notice_of_another_epoch_survives_a_fall_back_to_the_log(channel, settings):
    settings.PUBSUB = {"SUBSCRIBER_BYTES": 1000}
    await apublish_many(channel, 2)
    async with hub.subscribe(channel.id, "", after=Position(50, "another")) as slow, hub.subscribe(channel.id, "") as fast:
        ids = await apublish_many(channel, 10)
        assert await take_ids(fast, 10) == ids
        gap, *messages = await take(slow, 13)
        assert gap.reason is GapReason.EPOCH
        assert [message.id for message in messages] == [1, 2, *ids]


async def test_a_position_above_the_newest_id_waits_for_what_comes(channel):
    await apublish_many(channel, 2)
    async with hub.subscribe(channel.id, "", after=Position(10**9)) as subscriber:
        await apublish(channel)
        assert await take_ids(subscriber, 1) == [3]


async def test_a_log_replaced_under_a_live_subscriber_is_told_as_another_epoch(channel, settings):
    settings.PUBSUB = {"SAFETY_POLL": 0.05}
    async with hub.subscribe(channel.id, "") as subscriber:
        await apublish(channel)
        assert await take_ids(subscriber, 1) == [1]
        await sync_to_async(Counter.objects.filter(channel_id=channel.id).update)(epoch="restored")
        assert (await take(subscriber, 1))[0].reason is GapReason.EPOCH
        assert subscriber.epoch == "restored"
        await apublish(channel)
        assert await take_ids(subscriber, 1) == [2]
