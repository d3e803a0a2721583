"""Subscribers that flow: the dispatcher writes to their connections, and wakes a reader only for what those do not take."""

import asyncio
import dataclasses
from contextlib import asynccontextmanager
from unittest import mock

import pytest
from asgiref.sync import sync_to_async

from channels_app.core import hub
from channels_app.core.types import RESTARTING, Position, StreamAdvanced

from .conftest import apublish, apublish_many, hint_of

pytestmark = pytest.mark.usefixtures("ending_hub")


class Connection:
    """A sink that is its own connection and transport, and keeps what it was given. `encodings` counts those of all of them."""

    encodings = 0
    backlog = 100

    def __init__(self):
        self.ids = []
        self.connection = self.transport = self
        self.takes_frames = True

    @staticmethod
    def encode(event):
        Connection.encodings += 1
        return b"%d " % event.id

    def write(self, frames):
        assert self.takes_frames
        self.ids += map(int, frames.split())

    async def pump(self, subscriber):
        while True:
            self.ids += [event.id for event in await subscriber.next()]


@asynccontextmanager
async def written_to(channel, connection=None, after=None):
    """A connection whose reader does nothing but wait for the next event."""
    connection = connection or Connection()
    async with hub.subscribe(channel.id, "", after=after, sink=connection) as subscriber:
        pumping = asyncio.ensure_future(connection.pump(subscriber))
        yield connection, subscriber
        pumping.cancel()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (what it waits for is no event's to tell)
            await asyncio.sleep(0.001)


async def test_connections_are_written_to_with_one_encoding_for_all(channel):
    async with written_to(channel) as (one, first), written_to(channel) as (two, second):
        await until(lambda: first.flows and second.flows)
        Connection.encodings = 0
        await apublish_many(channel, 3)
        await until(lambda: one.ids == two.ids == [1, 2, 3])
        assert Connection.encodings == 3
        assert (first.position, second.position) == (3, 3)


async def test_what_is_too_large_to_wait_in_a_connection_is_read_from_the_log(channel, settings):
    settings.PUBSUB = {"SUBSCRIBER_BYTES": 101}
    async with written_to(channel) as (connection, subscriber):
        await until(lambda: subscriber.flows)
        with mock.patch.object(connection, "write", side_effect=AssertionError):
            await apublish(channel)
            await until(lambda: connection.ids == [1])


async def test_a_connection_that_takes_no_frames_holds_up_nobody_and_misses_nothing(channel):
    async with written_to(channel) as (stuck, behind), written_to(channel) as (quick, ahead):
        await until(lambda: behind.flows and ahead.flows)
        delivered = ahead.readers.delivered
        await apublish(channel)
        await until(lambda: quick.ids == stuck.ids == [1])
        stuck.takes_frames = False
        await apublish_many(channel, 5)
        await until(lambda: quick.ids == stuck.ids == [1, 2, 3, 4, 5, 6])  # by its reader
        stuck.takes_frames = True
        await until(lambda: behind.flows)
        await apublish(channel)
        await until(lambda: quick.ids == stuck.ids == [1, 2, 3, 4, 5, 6, 7])
        assert ahead.readers.delivered - delivered == 14


async def test_a_connection_whose_history_is_ahead_of_its_dispatcher_gets_nothing_twice(channel, silent, settings):
    settings.PUBSUB = {"SAFETY_POLL": 3600}
    async with hub.subscribe(channel.id, ""):
        messages = [(await apublish(channel)).message for _ in range(3)]
        async with written_to(channel, after=Position(0)) as (connection, subscriber):
            await until(lambda: connection.ids == [1, 2, 3])
            assert not subscriber.flows
            hub.current().advanced(await sync_to_async(hint_of)(channel, *messages))
            for last in (4, 5):
                message = (await apublish(channel)).message
                hub.current().advanced(await sync_to_async(hint_of)(channel, message))
                await until(lambda last=last: connection.ids == list(range(1, last + 1)))
                await until(lambda: subscriber.flows)


async def test_an_encoding_that_fails_is_its_own_readers_trouble(channel):
    class Broken(Connection):
        @staticmethod
        def encode(event):
            raise ValueError(event)

    async with written_to(channel, Broken()) as (broken, unlucky), written_to(channel) as (sound, lucky):
        await until(lambda: unlucky.flows and lucky.flows)
        await apublish_many(channel, 2)
        await until(lambda: sound.ids == broken.ids == [1, 2])  # its reader can read them


async def test_a_connection_that_breaks_when_it_is_written_to_costs_the_others_nothing(channel):
    class Broken(Connection):
        def write(self, frames):
            raise RuntimeError("the handler is closed")

    async with written_to(channel, Broken()) as (broken, unlucky), written_to(channel) as (sound, lucky):
        await until(lambda: unlucky.flows and lucky.flows)
        await apublish_many(channel, 2)
        await until(lambda: sound.ids == broken.ids == [1, 2])


async def test_a_closed_connection_is_not_written_to(channel):
    async with written_to(channel) as (ended, subscriber), written_to(channel) as (other, still_open):
        await until(lambda: subscriber.flows and still_open.flows)
        subscriber.close(RESTARTING)
        await apublish(channel)
        await until(lambda: other.ids == [1])
        assert ended.ids == []
        assert subscriber.position == 0


async def test_late_hints_of_an_earlier_epoch_cost_a_connection_nothing(channel, silent, settings):
    """Whoever believed their ids would take those that the log gives now for repeats."""
    settings.PUBSUB = {"SAFETY_POLL": 3600}
    async with written_to(channel) as (connection, subscriber):
        await until(lambda: subscriber.flows)
        first = (await apublish(channel)).message
        for late in (dataclasses.replace(first, id=id_, previous_id=id_ - 1) for id_ in (1000, 1001)):
            hub.current().advanced(StreamAdvanced(channel.id, "earlier", {"": late.id}, (late,)))
            await until(lambda: connection.ids == [1] and not subscriber.has_events)
        second = (await apublish(channel)).message
        hub.current().advanced(await sync_to_async(hint_of)(channel, second))
        await until(lambda: connection.ids == [1, 2] and subscriber.flows)
