"""A service, keys to sign tokens with, and clients that speak Twilsock."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from twilio.jwt.access_token import AccessToken
from twilio.jwt.access_token.grants import SyncGrant

from channels_app.core import directory, hub, publishing, tenancy
from channels_app.core.principals import FULL, Principal
from channels_app.core.types import Draft
from channels_app.dialects.twilio import sids
from channels_app.dialects.twilio.realtime import consumer, sessions
from channels_app.models import Administrator, AdministratorKey, Channel, Instance

from .twilsock import Twilsock

MANAGER = Principal(administrator_id=1, role=FULL)


class Farm:
    """A service, an API key of its account, and what others do there meanwhile."""

    def __init__(self, account: Administrator) -> None:
        self.account = account
        self.instance: Instance = tenancy.create_instance(owner=account.user, name="farm")
        self.key, self.secret = self.new_key()

    def new_key(self) -> tuple[AdministratorKey, str]:
        key, secret = tenancy.create_administrator_key(self.account)
        return key, secret.text

    def token(self, identity: str = "ciri", ttl: int = 3600, **changed: Any) -> str:
        fields = {
            "account_sid": sids.account_sid(self.account.uuid),
            "signing_key_sid": sids.key_sid(self.key.uuid),
            "secret": self.secret,
            **changed,
        }
        service_sid = fields.pop("service_sid", sids.service_sid(self.instance.uuid))
        token = AccessToken(**fields, identity=identity, ttl=ttl)
        token.add_grant(SyncGrant(service_sid=service_sid))
        return token.to_jwt()

    def channel(self, name: str) -> Channel:
        return Channel.objects.get(instance=self.instance, name=name)

    def publish(self, name: str, *payloads: Any) -> None:
        channel = directory.channel_info(self.channel(name), self.instance.name)
        for payload in payloads:
            publishing.publish(MANAGER, channel, Draft(json.dumps(payload), MANAGER.author_json))


@pytest.fixture
def farm(account: Administrator) -> Farm:
    return Farm(account)


@pytest.fixture(autouse=True)
def _a_client_that_does_not_leave_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "PARTING_SECONDS", 0.05)


@pytest_asyncio.fixture(autouse=True)
async def _a_process_that_ends_with_the_test() -> AsyncIterator[None]:
    yield
    await hub.current().close()
    await sessions.current().close()


@pytest_asyncio.fixture
async def connect(farm: Farm) -> AsyncIterator[Callable[..., Any]]:
    """Makes clients that have said who they are, and sees to it that they leave."""
    clients: list[Twilsock] = []

    async def connect(
        identity: str = "ciri", continuation_token: str | None = None, *, direct: bool = False, **token: Any
    ) -> Twilsock:
        clients.append(await Twilsock.start(farm.token(identity, **token), continuation_token, direct=direct))
        return clients[-1]

    yield connect
    for client in clients:
        await client.leave()


@pytest_asyncio.fixture
async def ciri(connect: Callable[..., Any]) -> Twilsock:
    client: Twilsock = await connect("ciri")
    return client


@pytest_asyncio.fixture
async def yen(connect: Callable[..., Any]) -> Twilsock:
    client: Twilsock = await connect("yen")
    return client
