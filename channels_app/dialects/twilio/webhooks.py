"""Calls to a service's WebhookUrl (wire/twilio.md §7). Of what is served here, only clients that come and go have events.

They are signed as every webhook of Twilio's is, sent by `core.delivery`, and wait for nobody: two may arrive in any order.

An endpoint is here as long as one of its connections is: a client that resumes its session keeps its endpoint, and its new
connection may come before anybody notices that the old one has ended.

Debouncing is by identity: `endpoint_disconnected` waits for the service's window, and is not sent when that identity has
connected again meanwhile, or has another endpoint here. "Here" is this process: of one that is connected elsewhere it knows
nothing. What still waits when the server ends is told then.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from channels_app.core import delivery, tenancy
from channels_app.core.credentials import unseal
from channels_app.core.database import in_thread
from channels_app.core.delivery import Delivery
from channels_app.models import TwilioService

from . import sids
from .parsing import FORM

logger = logging.getLogger(__name__)

CONNECTED, DISCONNECTED = "endpoint_connected", "endpoint_disconnected"


def endpoint_connected(instance_id: int, identity: str, endpoint: str) -> None:
    """A client has connected with a token for that service. Called in the event loop; returns at once, never raises."""
    _reachability().connected(Endpoint(instance_id, identity, endpoint))


def endpoint_disconnected(instance_id: int, identity: str, endpoint: str) -> None:
    """That client's connection has ended, however. As `endpoint_connected`, once for each call of it."""
    _reachability().disconnected(Endpoint(instance_id, identity, endpoint))


def signature(token: str, url: str, parameters: Mapping[str, str]) -> str:
    """The X-Twilio-Signature of a form that is posted to the URL."""
    signed = url + "".join(f"{name}{parameters[name]}" for name in sorted(parameters))
    return base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()


@dataclass(frozen=True, slots=True)
class Endpoint:
    instance_id: int
    identity: str
    id: str

    @property
    def who(self) -> tuple[int, str]:
        return self.instance_id, self.identity


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a service wants to hear of its endpoints. `window`: the seconds that a disconnection waits; 0: none."""

    url: str
    account_sid: str
    service_sid: str
    token: str = field(repr=False)
    window: float

    def delivery(self, event: str, endpoint: Endpoint) -> Delivery:
        parameters = {
            "AccountSid": self.account_sid,
            "ServiceSid": self.service_sid,
            "EventType": event,
            "Identity": endpoint.identity,
            "EndpointId": endpoint.id,
        }
        headers = {"Content-Type": f"{FORM}; charset=utf-8", "X-Twilio-Signature": signature(self.token, self.url, parameters)}
        return Delivery(self.url, urlencode(parameters).encode(), headers, owner=f"account {self.account_sid}")


@dataclass(slots=True)
class Presence:
    """Of an identity: its connections by endpoint, its endpoints whose end is about to be told, and how often one has come."""

    connections: Counter[str] = field(default_factory=Counter)
    leaving: int = 0
    arrivals: int = 0


class Reachability:
    """Who is connected in this event loop, and what is about to be told of it. `pause` waits so many seconds."""

    def __init__(self, pause: Callable[[float], Awaitable[None]] = delivery.pause) -> None:
        self._pause = pause
        self._presence: dict[tuple[int, str], Presence] = {}

    def connected(self, endpoint: Endpoint) -> None:
        presence = self._presence.setdefault(endpoint.who, Presence())
        presence.connections[endpoint.id] += 1
        if presence.connections[endpoint.id] == 1:
            presence.arrivals += 1
            delivery.prepare(self._tell_arrival(endpoint))

    def disconnected(self, endpoint: Endpoint) -> None:
        presence = self._presence[endpoint.who]
        presence.connections[endpoint.id] -= 1
        if not presence.connections[endpoint.id]:
            del presence.connections[endpoint.id]
            presence.leaving += 1
            delivery.prepare(self._tell_end(endpoint, presence, presence.arrivals))

    async def _tell_arrival(self, endpoint: Endpoint) -> None:
        hook = await _find_hook(endpoint)
        if hook is not None:
            delivery.send(hook.delivery(CONNECTED, endpoint))

    async def _tell_end(self, endpoint: Endpoint, presence: Presence, arrivals: int) -> None:
        try:
            hook = await _find_hook(endpoint)
            if hook is None:
                return
            if hook.window:
                await self._pause(hook.window)
                if presence.connections or presence.arrivals != arrivals:
                    return
            delivery.send(hook.delivery(DISCONNECTED, endpoint))
        finally:
            presence.leaving -= 1
            if not presence.connections and not presence.leaving:
                self._presence.pop(endpoint.who, None)


async def _find_hook(endpoint: Endpoint) -> Hook | None:
    try:
        return await in_thread(_load_hook, endpoint.instance_id)
    except (DatabaseError, ImproperlyConfigured) as error:  # the latter: the account's key cannot be read, others' can
        logger.warning("A webhook of instance %d is not called: %s", endpoint.instance_id, error)
        return None


def _load_hook(instance_id: int) -> Hook | None:
    """None: nobody wants to hear of that service's endpoints."""
    wanted = TwilioService.objects.filter(instance_id=instance_id, reachability_webhooks_enabled=True).exclude(webhook_url="")
    service = wanted.select_related("instance__owner").first()
    if service is None:
        return None
    account = tenancy.administrator_of(service.instance.owner)
    return Hook(
        url=service.webhook_url,
        account_sid=sids.account_sid(account.uuid),
        service_sid=sids.service_sid(service.instance.uuid),
        token=unseal(account.key_sealed),
        window=service.reachability_debouncing_window / 1000 if service.reachability_debouncing_enabled else 0,
    )


_by_loop: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Reachability]" = weakref.WeakKeyDictionary()


def _reachability() -> Reachability:
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        _by_loop[loop] = Reachability()
    return _by_loop[loop]
