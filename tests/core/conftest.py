"""What the core's tests are about: an instance, its channels, and messages published into them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from channels_app.core import directory, hub, log, notifier, publishing, tenancy
from channels_app.core.directory import ChannelInfo
from channels_app.core.principals import FULL, Principal
from channels_app.core.recovery import Event
from channels_app.core.subscriber import Subscriber, SubscriberClosed
from channels_app.core.types import CloseReason, Draft, Message, Receipt, StreamAdvanced
from channels_app.models import Channel, Instance

MANAGER = Principal(administrator_id=1, role=FULL)


@pytest.fixture
def owner(transactional_db):
    return get_user_model().objects.create_user("geralt", "geralt@rivia.example", "a-good-password")


@pytest.fixture
def instance(owner) -> Instance:
    return tenancy.create_instance(owner=owner, name="rivia")


@pytest.fixture
def make_channel(instance) -> Callable[..., ChannelInfo]:
    def make(name: str = "witchers", **fields: object) -> ChannelInfo:
        row = tenancy.create_channel(instance, name=name, **{"custom_publish": True, **fields})
        return directory.channel_info(row, instance.name)

    return make


@pytest.fixture
def channel(make_channel) -> ChannelInfo:
    return make_channel()


@pytest.fixture
def rooms(make_channel) -> ChannelInfo:
    return make_channel("halls", type=Channel.Type.SEPARATE_ROOMS)


def publish(channel: ChannelInfo, payload: str = "{}", room: str = "", **fields: str) -> Receipt:
    return publishing.publish(MANAGER, channel, Draft(payload, MANAGER.author_json, room, **fields))


def publish_many(channel: ChannelInfo, count: int, room: str = "") -> list[int]:
    return [publish(channel, f'{{"n":{n}}}', room).message.id for n in range(count)]


apublish = sync_to_async(publish, thread_sensitive=False)
apublish_many = sync_to_async(publish_many, thread_sensitive=False)


async def take(subscriber: Subscriber, count: int) -> list[Event]:
    """The next `count` events."""
    events: list[Event] = []
    async with asyncio.timeout(10):
        while len(events) < count:
            events += await subscriber.next()
    return events


async def take_ids(subscriber: Subscriber, count: int) -> list[int]:
    return [event.id for event in await take(subscriber, count)]


async def close_reason(subscriber: Subscriber) -> CloseReason:
    """Why the server ends it."""
    async with asyncio.timeout(10):
        with pytest.raises(SubscriberClosed) as caught:
            await subscriber.next()
    return caught.value.reason


@pytest_asyncio.fixture
async def ending_hub() -> AsyncIterator[None]:
    """The event loop's hub ends with the test."""
    yield
    await hub.current().close()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hint arrives by itself."""
    monkeypatch.setattr(notifier, "announce", lambda hints: None)


def hint_of(channel: ChannelInfo, *messages: Message, last_id: int | None = None) -> StreamAdvanced:
    head = log.head(channel.id, "")
    return StreamAdvanced(channel.id, head.epoch, {"": last_id or messages[-1].id}, tuple(messages))
