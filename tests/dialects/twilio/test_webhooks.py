"""Webhooks: signed so that the real helper believes them, and debounced by identity (wire/twilio.md §7)."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from twilio.request_validator import RequestValidator

from channels_app.core import credentials, tenancy
from channels_app.core.delivery import Delivery
from channels_app.dialects.twilio import webhooks
from channels_app.dialects.twilio.webhooks import Endpoint, Hook, Reachability, signature
from channels_app.models import TwilioService
from tests.receiver import receiving

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PHONE, LAPTOP = Endpoint(1, "ciri", "phone"), Endpoint(1, "ciri", "laptop")
ELSEWHERE = Endpoint(2, "ciri", "phone")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://example.com:8080/hook?a=b&c=%20d",
        "https://user:password@example.com/",
        "https://example.com",
    ],
)
@pytest.mark.parametrize("parameters", [{}, {"EventType": "x", "AccountSid": "AC1", "Identity": "zoë & co/+%"}], ids=str)
def test_the_helpers_validator_believes_our_signatures(url: str, parameters: dict[str, str]) -> None:
    validator = RequestValidator(TOKEN)
    assert validator.validate(url, parameters, signature(TOKEN, url, parameters))
    assert not validator.validate(url, {**parameters, "more": "1"}, signature(TOKEN, url, parameters))
    assert not RequestValidator("another").validate(url, parameters, signature(TOKEN, url, parameters))


def test_an_event_is_a_signed_form() -> None:
    hook = Hook("https://example.com/hook", "AC1", "IS1", TOKEN, window=0)
    made = hook.delivery("endpoint_connected", Endpoint(5, "zoë & co", "e1"))
    parameters = dict(parse_qsl(made.body.decode()))
    assert parameters == {
        "AccountSid": "AC1",
        "ServiceSid": "IS1",
        "EventType": "endpoint_connected",
        "Identity": "zoë & co",
        "EndpointId": "e1",
    }
    assert made.url == "https://example.com/hook"
    assert RequestValidator(TOKEN).validate(made.url, parameters, made.headers["X-Twilio-Signature"])
    assert TOKEN not in repr(hook)


def test_all_services_of_an_account_have_one_share_of_the_queue() -> None:
    one, other = (Hook(f"https://{sid}.example/", "AC1", sid, TOKEN, window=0) for sid in ("IS1", "IS2"))
    owners = {one.delivery("endpoint_connected", PHONE).owner, other.delivery("endpoint_connected", ELSEWHERE).owner}
    assert owners == {"account AC1"}


class Service:
    """Reachability of one service and what it was told, with a clock that a test moves."""

    def __init__(self, window: float) -> None:
        self.reachability = Reachability(self._pause)
        self.told: list[tuple[str, str]] = []
        self._window = window
        self._waking = asyncio.Event()

    async def find(self, endpoint: Endpoint) -> Hook | None:
        return Hook("https://example.com/", "AC1", "IS1", TOKEN, self._window) if endpoint.instance_id == 1 else None

    def send(self, delivery: Delivery) -> None:
        fields = dict(parse_qsl(delivery.body.decode()))
        self.told.append((fields["EventType"], fields["EndpointId"]))

    async def _pause(self, seconds: float) -> None:
        assert seconds == self._window
        await self._waking.wait()

    async def connect(self, *endpoints: Endpoint) -> None:
        for endpoint in endpoints:
            self.reachability.connected(endpoint)
        await self._settle()

    async def disconnect(self, *endpoints: Endpoint) -> None:
        for endpoint in endpoints:
            self.reachability.disconnected(endpoint)
        await self._settle()

    async def window_passes(self) -> None:
        self._waking.set()
        await self._settle()
        self._waking = asyncio.Event()

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture(params=[0.0], ids=["at once"])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service(request.param)
    monkeypatch.setattr(webhooks, "_find_hook", service.find)
    monkeypatch.setattr(webhooks.delivery, "send", service.send)
    yield service
    assert not service.reachability._presence  # whoever has gone is forgotten


debounced = pytest.mark.parametrize("service", [5.0], indirect=True, ids=["debounced"])


async def test_coming_and_going_are_told(service: Service) -> None:
    await service.connect(PHONE)
    await service.disconnect(PHONE)
    assert service.told == [("endpoint_connected", "phone"), ("endpoint_disconnected", "phone")]


async def test_each_endpoint_of_an_identity_is_told(service: Service) -> None:
    await service.connect(PHONE, LAPTOP)
    await service.disconnect(LAPTOP, PHONE)
    assert service.told[2:] == [("endpoint_disconnected", "laptop"), ("endpoint_disconnected", "phone")]


@pytest.mark.parametrize("service", [0.0, 5.0], indirect=True, ids=["at once", "debounced"])
async def test_an_endpoint_is_here_until_the_last_of_its_connections_has_ended(service: Service) -> None:
    await service.connect(PHONE)
    await service.connect(PHONE)  # its session is resumed before the end of the old connection is noticed
    await service.disconnect(PHONE)
    await service.window_passes()
    assert service.told == [("endpoint_connected", "phone")]
    await service.disconnect(PHONE)
    await service.window_passes()
    assert service.told[1:] == [("endpoint_disconnected", "phone")]


async def test_a_service_without_a_hook_hears_nothing(service: Service) -> None:
    await service.connect(ELSEWHERE)
    await service.disconnect(ELSEWHERE)
    assert service.told == []


@debounced
async def test_an_end_is_told_after_the_window(service: Service) -> None:
    await service.connect(PHONE)
    await service.disconnect(PHONE)
    assert service.told == [("endpoint_connected", "phone")]
    await service.window_passes()
    assert service.told[1:] == [("endpoint_disconnected", "phone")]


@debounced
@pytest.mark.parametrize("back", [PHONE, LAPTOP], ids=lambda endpoint: endpoint.id)
async def test_an_end_is_not_told_when_the_identity_is_back_in_time(service: Service, back: Endpoint) -> None:
    await service.connect(PHONE)
    await service.disconnect(PHONE)
    await service.connect(back)
    await service.window_passes()
    assert service.told == [("endpoint_connected", "phone"), ("endpoint_connected", back.id)]
    await service.disconnect(back)
    await service.window_passes()
    assert service.told[2:] == [("endpoint_disconnected", back.id)]


@debounced
async def test_who_comes_and_goes_within_the_window_has_one_end(service: Service) -> None:
    await service.connect(PHONE)
    await service.disconnect(PHONE)
    await service.connect(LAPTOP)
    await service.disconnect(LAPTOP)
    await service.window_passes()
    assert service.told[2:] == [("endpoint_disconnected", "laptop")]


@debounced
async def test_an_end_is_not_told_while_another_endpoint_is_here(service: Service) -> None:
    await service.connect(PHONE, LAPTOP)
    await service.disconnect(PHONE)
    await service.window_passes()
    assert len(service.told) == 2
    await service.disconnect(LAPTOP)
    await service.window_passes()
    assert service.told[2:] == [("endpoint_disconnected", "laptop")]


# Where they go


@pytest.fixture
def settings_of_service(db: None) -> TwilioService:
    owner = get_user_model().objects.create_user("geralt", "geralt@rivia.example", "a-good-password")
    instance = tenancy.create_instance(owner=owner, name="rivia")
    return TwilioService.objects.create(
        instance=instance, webhook_url="https://example.com/hook", reachability_webhooks_enabled=True
    )


def test_a_hook_is_called_in_the_accounts_name(settings_of_service: TwilioService) -> None:
    instance = settings_of_service.instance
    account = tenancy.administrator_of(instance.owner)
    hook = webhooks._load_hook(instance.pk)
    assert hook is not None
    assert (hook.url, hook.window) == ("https://example.com/hook", 0)
    assert (hook.account_sid, hook.service_sid) == (f"AC{account.uuid.hex}", f"IS{instance.uuid.hex}")
    assert credentials.digest(hook.token) == account.key_digest


def test_the_window_counts_only_with_debouncing(settings_of_service: TwilioService) -> None:
    settings_of_service.reachability_debouncing_enabled = True
    settings_of_service.reachability_debouncing_window = 1500
    settings_of_service.save()
    hook = webhooks._load_hook(settings_of_service.pk)
    assert hook is not None
    assert hook.window == 1.5


@pytest.mark.parametrize("change", [{"webhook_url": ""}, {"reachability_webhooks_enabled": False}], ids=str)
def test_a_service_that_does_not_want_to_hear_has_no_hook(settings_of_service: TwilioService, change: dict[str, Any]) -> None:
    TwilioService.objects.filter(pk=settings_of_service.pk).update(**change)
    assert webhooks._load_hook(settings_of_service.pk) is None


async def test_a_hook_whose_key_cannot_be_read_is_told_in_the_log_and_not_called(
    settings_of_service: TwilioService, transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    account = await sync_to_async(tenancy.administrator_of)(settings_of_service.instance.owner)
    await type(account).objects.filter(pk=account.pk).aupdate(key_sealed="sealed with another key")
    assert await webhooks._find_hook(Endpoint(settings_of_service.pk, "ciri", "phone")) is None
    [line] = caplog.messages
    assert line.startswith(f"A webhook of instance {settings_of_service.pk} is not called: SECRET_KEY (or PUBSUB_SEAL_KEYS)")


def test_a_service_without_settings_has_no_hook(db: None) -> None:
    assert webhooks._load_hook(12345) is None


async def test_an_end_whose_window_has_not_passed_is_told_when_the_server_ends(
    settings: Any, settings_of_service: TwilioService, transactional_db: None
) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_NETWORKS": "127.0.0.0/8"}
    async with receiving() as receiver:
        settings_of_service.webhook_url = receiver.url("/hook")
        settings_of_service.reachability_debouncing_enabled = True
        settings_of_service.reachability_debouncing_window = 30_000
        await sync_to_async(settings_of_service.save)()
        webhooks.endpoint_connected(settings_of_service.pk, "ciri", "phone")
        await receiver.arrived.wait()
        webhooks.endpoint_disconnected(settings_of_service.pk, "ciri", "phone")
        async with asyncio.timeout(10):
            await webhooks.delivery.close(30)
    events = [dict(parse_qsl(body.decode()))["EventType"] for _, body, _ in receiver.requests]
    assert events == ["endpoint_connected", "endpoint_disconnected"]


async def test_a_client_that_comes_is_told_to_the_services_server(
    settings: Any, settings_of_service: TwilioService, transactional_db: None
) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_NETWORKS": "127.0.0.0/8"}
    async with receiving() as receiver:
        settings_of_service.webhook_url = receiver.url("/hook?from=us")
        await sync_to_async(settings_of_service.save)()
        webhooks.endpoint_connected(settings_of_service.pk, "ciri", "phone")
        await receiver.arrived.wait()
        await webhooks.delivery.close(10)
    [(path, body, headers)] = receiver.requests
    hook = await sync_to_async(webhooks._load_hook)(settings_of_service.pk)
    assert hook is not None
    assert path == "/hook?from=us"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded; charset=utf-8"
    assert RequestValidator(hook.token).validate(hook.url, dict(parse_qsl(body.decode())), headers["X-Twilio-Signature"])
