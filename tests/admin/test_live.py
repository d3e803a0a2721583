"""What an act in the admin ends of what is live, and what goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.test import Client

from channels_app.core import directory, hub, tenancy
from channels_app.core.credentials import Credentials
from channels_app.core.subscriber import Access, Subscriber, SubscriberClosed
from channels_app.core.types import REVOKED
from channels_app.models import AdministratorKey

from .conftest import BASE, Tenant, fill

pytestmark = pytest.mark.django_db(transaction=True)

ROOM = "hall"


@pytest_asyncio.fixture(autouse=True)
async def _hub_that_ends_with_the_test() -> AsyncIterator[None]:
    yield
    await hub.current().close()


def by_further_key(tenant: Tenant) -> tuple[AdministratorKey, Credentials]:
    key, secret = tenancy.create_administrator_key(tenancy.administrator_of(tenant.owner))
    return key, Credentials.of_account_key(key.uuid, secret.text)


def by_account_key(tenant: Tenant) -> Credentials:
    return Credentials.of(tenancy.reset_account_key(tenancy.administrator_of(tenant.owner)).text)


def by_api_key(tenant: Tenant) -> Credentials:
    return Credentials.of(tenancy.create_api_key(tenant.instance, ignore_acl=True)[1].text)


@sync_to_async
def access(tenant: Tenant, credentials: Credentials) -> Access:
    channel = directory.channel_info(tenant.channel, tenant.instance.name)
    return Access(credentials, channel, directory.as_of())


async def is_ended(subscriber: Subscriber) -> bool:
    """By the right that it read by; False: it gets the next message."""
    async with asyncio.timeout(10):
        try:
            return not await subscriber.next()
        except SubscriberClosed as closed:
            return closed.reason is REVOKED


@pytest.mark.parametrize("act", ["renew", "delete"])
async def test_a_key_that_is_renewed_or_revoked_ends_its_own_subscribers_only(owner: Client, rivia: Tenant, act: str) -> None:
    key, of_key = await sync_to_async(by_further_key)(rivia)
    _, of_another = await sync_to_async(by_further_key)(rivia)
    of_account, of_instance = [await sync_to_async(make)(rivia) for make in (by_account_key, by_api_key)]
    accesses = [await access(rivia, each) for each in (of_key, of_another, of_account, of_instance)]

    async with contextlib.AsyncExitStack() as stack:
        live = [await stack.enter_async_context(hub.subscribe(rivia.channel.pk, ROOM, access=each)) for each in accesses]
        await sync_to_async(owner.post)(f"{BASE}/administratorkey/{key.pk}/{act}/", {"post": "yes"})
        assert await is_ended(live[0])
        await sync_to_async(fill)(rivia.channel, [ROOM])
        assert [await is_ended(each) for each in live[1:]] == [False] * 3
