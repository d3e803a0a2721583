"""Consumers that deliver, on a server without extensions (the others are met in tests/e2e)."""

import asyncio
import sys

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model

from channels_app.core import directory, hub, publishing, tenancy
from channels_app.core.credentials import Credentials
from channels_app.core.directory import ChannelInfo
from channels_app.core.principals import FULL, Principal
from channels_app.core.subscriber import Access
from channels_app.core.types import RESTARTING, Draft, Front, Position
from channels_app.dialects.sockets import DeliveringConsumer

MANAGER = Principal(administrator_id=1, role=FULL)


@pytest_asyncio.fixture(autouse=True)
async def _hub_that_ends_with_the_test():
    yield
    await hub.current().close()


@pytest.fixture
def channel(transactional_db) -> ChannelInfo:
    owner = get_user_model().objects.create_user("geralt", "geralt@rivia.example", "a-good-password")
    instance = tenancy.create_instance(owner=owner, name="rivia")
    return directory.channel_info(tenancy.create_channel(instance, name="lobby", custom_publish=True), instance.name)


def payload(event) -> bytes:
    if event.payload == '"unspeakable"':
        raise ValueError(event)
    return event.payload.encode()


@sync_to_async
def publish(channel, *payloads):
    for text in payloads:
        publishing.publish(MANAGER, channel, Draft(text, MANAGER.author_json))


def listening_to(channel, after=None):
    """A client's end of a socket whose consumer tells the payloads of that channel."""

    class Payloads(DeliveringConsumer):
        async def connect(self):
            access = Access(Credentials(), channel, as_of=sys.maxsize)  # nobody asks for its right again
            await self.join(payload, channel.id, "", after=after, access=access, front=Front("none", "websocket"))
            await self.accept()
            self.deliver()

    return WebsocketCommunicator(Payloads.as_asgi(), "/")


async def test_what_was_missed_comes_first_and_then_what_comes(channel):
    await publish(channel, "1", "2", "3")
    socket = listening_to(channel, Position(1))
    await socket.connect()
    assert [await socket.receive_from() for _ in range(2)] == ["2", "3"]
    await publish(channel, "4")
    assert await socket.receive_from() == "4"
    await socket.disconnect()


async def test_a_quiet_connection_has_no_writing_task_and_one_that_ended_no_subscriber(channel):
    await publish(channel, "1")
    sockets = [listening_to(channel, Position(0)) for _ in range(5)]
    for socket in sockets:
        await socket.connect()
        assert await socket.receive_from() == "1"
    await asyncio.sleep(0)
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
    assert not [name for name in names if "Consumer" in name]
    assert len(hub.current()._subscribers) == 5
    for socket in sockets:
        await socket.disconnect()
    assert not hub.current()._subscribers


async def test_the_servers_reason_is_the_clients(channel):
    socket = listening_to(channel)
    await socket.connect()
    draining = asyncio.ensure_future(hub.drain(0.01))
    closed = await socket.receive_output()
    assert (closed["code"], closed["reason"]) == (RESTARTING.code, RESTARTING.reason)
    await socket.disconnect()
    await draining


async def test_a_client_is_not_left_waiting_for_what_cannot_be_told(channel, caplog):
    socket = listening_to(channel)
    await socket.connect()
    await publish(channel, '"unspeakable"')
    assert (await socket.receive_output())["code"] == 1011
    assert "A live connection is given up" in caplog.messages
    await socket.disconnect()
    assert not hub.current()._subscribers
