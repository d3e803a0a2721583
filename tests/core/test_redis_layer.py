"""The channel layer on a real Redis: groups that leave the sender out, and mailboxes that are read as a whole."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from channels.layers import get_channel_layer
from redis import Redis

from channels_app.core import redis_layer
from channels_app.core.redis_layer import RedisLayer
from tests.backends import Backend

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def layer(backend: Backend) -> AsyncIterator[RedisLayer]:
    if not backend.several_processes:
        pytest.skip("the in-memory layer has no other processes")
    layer = get_channel_layer()
    await layer.flush()
    yield layer
    await layer.close_pools()


async def numbers(layer: RedisLayer, name: str) -> list[int]:
    return [message["n"] for message in await layer.receive_many(name, 0)]


async def test_a_message_reaches_the_others_of_its_group_and_not_the_sender(layer: RedisLayer):
    for name in ("a", "b"):
        await layer.group_add("rooms", name)
    assert await layer.send_to_groups({"rooms": {"n": 1}}, sender="a") == {"rooms"}
    assert await layer.send_to_groups({"rooms": {"n": 2}}, sender="b") == {"rooms"}
    assert (await numbers(layer, "b"), await numbers(layer, "a")) == ([1], [2])


async def test_only_groups_that_others_are_in_are_reported(layer: RedisLayer):
    await layer.group_add("mine", "a")
    await layer.group_add("theirs", "b")
    messages = {group: {"n": n} for n, group in enumerate(("mine", "theirs", "nobodys"))}
    assert await layer.send_to_groups(messages, sender="a") == {"theirs"}
    await layer.group_discard("theirs", "b")
    assert await layer.send_to_groups(messages, sender="a") == set()


async def test_what_gathered_is_received_at_once_in_order_and_only_once(layer: RedisLayer):
    await layer.group_add("rooms", "b")
    for n in range(20):
        await layer.send_to_groups({"rooms": {"n": n}}, sender="a")
    assert await numbers(layer, "b") == list(range(20))
    waiting = asyncio.create_task(numbers(layer, "b"))
    await layer.send_to_groups({"rooms": {"n": 20}}, sender="a")
    assert await waiting == [20]


async def test_a_message_leaves_in_the_tick_after_it_was_handed_in(layer: RedisLayer):
    """Whatever the event loop does next, and for how long."""
    await layer.group_add("rooms", "b")
    await layer.send_to_groups({"rooms": {"n": 1}}, sender="a")
    sending = asyncio.create_task(layer.send_to_groups({"rooms": {"n": 2}}, sender="a"))
    await asyncio.sleep(0)
    with Redis.from_url(layer.hosts[0]["address"]) as another:
        (inbox,) = [key for key in another.scan_iter("*inbox*b") if not key.endswith(b":alive")]
        deadline = time.monotonic() + 10
        while another.xlen(inbox) < 2:  # and the event loop stands still
            assert time.monotonic() < deadline, "it has not left"
    assert await sending == {"rooms"}


async def test_a_connection_that_redis_has_closed_meanwhile_costs_no_message(layer: RedisLayer):
    await layer.group_add("rooms", "b")
    await layer.send_to_groups({"rooms": {"n": 1}}, sender="a")
    with Redis.from_url(layer.hosts[0]["address"]) as another:
        another.client_kill_filter(_type="normal", skipme=True)
    assert await layer.send_to_groups({"rooms": {"n": 2}}, sender="a") == {"rooms"}
    assert await numbers(layer, "b") == [1, 2]


async def test_who_does_not_receive_any_more_is_forgotten(layer: RedisLayer):
    """A process that was killed leaves its name behind."""
    await layer.group_add("rooms", "dead")
    (key,) = await layer.connection(0).keys("*dead:alive")
    await layer.connection(0).delete(key)
    assert await layer.send_to_groups({"rooms": {"n": 1}}, sender="a") == set()
    assert not await layer.connection(0).keys("*dead*")


@asynccontextmanager
async def way_that_falls_silent(target: str) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """A port that leads to the target, and what makes all its connections so far carry nothing any more, without a word."""
    connections: list[asyncio.Event] = []
    tasks: list[asyncio.Task[Any]] = []

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_silent: asyncio.Event) -> None:
        while data := await source.read(65_536):
            if not is_silent.is_set():
                sink.write(data)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.Event())
        far_reader, far_writer = await asyncio.open_connection(*target.rsplit(":", 1))
        tasks.append(asyncio.ensure_future(carry(reader, far_writer, connections[-1])))
        tasks.append(asyncio.ensure_future(carry(far_reader, writer, connections[-1])))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], lambda: [each.set() for each in connections] and None
    finally:
        server.close()
        for task in tasks:
            task.cancel()


async def test_a_connection_that_died_without_a_word_is_given_up_and_hints_come_by_another(layer: RedisLayer, monkeypatch):
    monkeypatch.setattr(redis_layer, "ANSWER_SECONDS", 0.1)
    address = urlsplit(layer.hosts[0]["address"])
    async with way_that_falls_silent(f"{address.hostname}:{address.port}") as (port, fall_silent):
        far = RedisLayer(hosts=[address._replace(netloc=f"127.0.0.1:{port}").geturl()], prefix=layer.prefix)
        far.brpop_timeout = 0.1
        await far.group_add("rooms", "b")
        await layer.send_to_groups({"rooms": {"n": 1}}, sender="a")
        assert await numbers(far, "b") == [1]
        fall_silent()
        with pytest.raises(TimeoutError):
            await numbers(far, "b")
        await layer.send_to_groups({"rooms": {"n": 2}}, sender="a")
        assert await numbers(far, "b") == [2]
        await far.close_pools()
