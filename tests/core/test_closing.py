"""How live connections end: the server says why, and nobody listens longer than may be."""

import asyncio

import pytest
from asgiref.sync import sync_to_async

from channels_app.core import directory, hub, notifier, tenancy
from channels_app.core.credentials import Credentials
from channels_app.core.errors import InvalidKey, NotFound
from channels_app.core.subscriber import Access
from channels_app.core.types import CHANNEL_DELETED, RESTARTING, REVOKED
from channels_app.models import Channel, Counter

from .conftest import apublish, close_reason, take_ids

pytestmark = pytest.mark.usefixtures("ending_hub")


async def test_a_deleted_channel_ends_its_subscribers(channel):
    async with hub.subscribe(channel.id, "") as subscriber:
        row = await Channel.objects.aget(pk=channel.id)
        await sync_to_async(tenancy.delete_channel)(row)
        assert await close_reason(subscriber) is CHANNEL_DELETED
    with pytest.raises(NotFound):
        async with hub.subscribe(channel.id, ""):
            pass


async def test_a_channel_deleted_by_another_process_ends_its_subscribers(channel, settings):
    settings.PUBSUB = {"SAFETY_POLL": 0.05}
    async with hub.subscribe(channel.id, "") as subscriber:
        await sync_to_async(Counter.objects.filter(channel_id=channel.id).delete)()
        assert await close_reason(subscriber) is CHANNEL_DELETED


@pytest.fixture
def key(instance):
    return tenancy.create_api_key(instance, ignore_acl=True)


def access(secret, channel):
    return Access(Credentials.of(secret.text), channel, directory.as_of())


async def test_a_revoked_key_ends_its_subscribers_and_no_others(channel, key, instance):
    row, secret = key
    _, other = await sync_to_async(tenancy.create_api_key)(instance, ignore_acl=True)
    mine, theirs = await sync_to_async(access)(secret, channel), await sync_to_async(access)(other, channel)
    async with hub.subscribe(channel.id, "", access=mine) as gone, hub.subscribe(channel.id, "", access=theirs) as kept:
        await sync_to_async(tenancy.revoke_api_key)(row)
        assert await close_reason(gone) is REVOKED
        await apublish(channel)
        assert await take_ids(kept, 1) == [1]


async def test_a_right_taken_away_by_another_process_is_noticed(channel, key, settings):
    settings.PUBSUB = {"SAFETY_POLL": 0.05}
    row, secret = key
    async with hub.subscribe(channel.id, "", access=await sync_to_async(access)(secret, channel)) as subscriber:
        # As another process would: the rows change, and nobody here is told.
        await sync_to_async(_revoke_silently)(row)
        assert await close_reason(subscriber) is REVOKED


async def test_nor_does_a_right_serve_that_was_taken_away_while_it_was_remembered_here(channel, key, settings):
    settings.PUBSUB = {"SAFETY_POLL": 0.05, "DIRECTORY_TTL": 3600}
    row, secret = key

    def admit():
        found = access(secret, channel)
        directory.resolve(found.credentials, directory.instance(channel.instance_name))
        return found

    def publish_with_it():
        directory.forget()
        directory.resolve(Credentials.of(secret.text), directory.instance(channel.instance_name))

    await sync_to_async(publish_with_it)()
    await sync_to_async(_revoke_silently)(row)
    with pytest.raises(InvalidKey):
        await sync_to_async(admit)()


def _revoke_silently(row):
    type(row).objects.filter(pk=row.pk)._raw_delete(using="default")
    directory.raise_version()


class SilentRedis:
    """Says nothing any more, as a machine that was cut off or paused."""

    ring_size = 1

    def __init__(self):
        self.left = asyncio.Event()

    async def group_add(self, group, channel):
        await asyncio.Event().wait()

    async def group_discard(self, group, channel):
        self.left.set()
        await asyncio.Event().wait()

    async def receive_many(self, channel, index):
        await asyncio.Event().wait()

    async def send_to_groups(self, messages, sender):
        return set()


async def test_a_redis_that_hangs_stops_neither_the_safety_poll_nor_the_look_at_rights(
    channel, silent, settings, monkeypatch, make_channel, key
):
    settings.PUBSUB = {"SAFETY_POLL": 0.05}
    monkeypatch.setattr(hub, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(notifier, "ANSWER_SECONDS", 0.01)
    others = await sync_to_async(make_channel)("others")
    by_right_of = await sync_to_async(access)(key[1], channel)
    redis = SilentRedis()
    monkeypatch.setattr(notifier, "_layer", lambda: redis)
    async with hub.subscribe(channel.id, "", access=by_right_of) as subscriber, hub.subscribe(channel.id, "") as another:
        monkeypatch.setattr(notifier, "ANSWER_SECONDS", 3600)
        async with asyncio.timeout(10):
            for id_ in (1, 2):
                await apublish(channel)
                assert await take_ids(another, 1) == await take_ids(subscriber, 1) == [id_]
            await sync_to_async(_revoke_silently)(key[0])
            assert await close_reason(subscriber) == REVOKED
        monkeypatch.setattr(notifier, "ANSWER_SECONDS", 0.01)
        async with hub.subscribe(others.id, ""):
            monkeypatch.setattr(notifier, "ANSWER_SECONDS", 3600)
        async with asyncio.timeout(10):
            await redis.left.wait()
            await apublish(channel)
            assert await take_ids(another, 1) == [3]


async def test_renaming_the_instance_ends_nobody(channel, key, instance):
    _, secret = key
    async with hub.subscribe(channel.id, "", access=await sync_to_async(access)(secret, channel)) as subscriber:
        await sync_to_async(tenancy.rename_instance)(instance, "cintra")
        await apublish(channel)
        assert await take_ids(subscriber, 1) == [1]


async def test_draining_ends_everybody_with_the_word_to_come_back(channel):
    async with hub.subscribe(channel.id, "") as one, hub.subscribe(channel.id, "") as two:
        draining = asyncio.ensure_future(hub.drain(0.05))
        assert await close_reason(one) is RESTARTING
        assert await close_reason(two) is RESTARTING
        async with hub.subscribe(channel.id, "") as late:
            assert await close_reason(late) is RESTARTING
    await draining


async def test_draining_does_not_wait_for_those_who_left_by_themselves(channel):
    async with hub.subscribe(channel.id, ""), hub.subscribe(channel.id, ""):
        draining = asyncio.ensure_future(hub.drain(3600))
        await asyncio.sleep(0)
        assert not draining.done()
    async with asyncio.timeout(10):
        await draining
