"""Services are instances (wire/twilio.md §2). What only this wire knows of one is in a row of its own, once it was set."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.db.models import QuerySet

from channels_app.conf import conf
from channels_app.core import tenancy
from channels_app.core.errors import NotFound
from channels_app.core.principals import Principal
from channels_app.core.tenancy import Quota
from channels_app.models import Instance, TwilioService
from channels_app.models.twilio import WEBHOOK_URL_LENGTH

from . import sids
from .errors import MISSING_PARAMETER, TwilioError
from .fields import boolean, integer, timestamp

FRIENDLY_NAME_LENGTH = 256
WINDOW = range(1_000, 30_001)  # milliseconds
WEBHOOK_URL_RULE = f"an http or https URL of at most {WEBHOOK_URL_LENGTH} characters"
PARTS = ("Documents", "Lists", "Maps", "Streams")


def rows(account: Principal) -> QuerySet[Instance]:
    """All that the account owns, also what was not made as a service."""
    return Instance.objects.filter(owner_id=account.administrator_id).select_related("twilio_service", "owner__administrator")


def find(account: Principal, instance_id: int) -> Instance:
    row = rows(account).filter(pk=instance_id).first()
    if row is None:
        raise NotFound("instance")
    return row


def as_json(row: Instance, services_url: str) -> dict[str, Any]:
    """The fifteen fields of a row of `rows`. `services_url`: where services are, as the client reaches them."""
    sid = sids.service_sid(row.uuid)
    settings: TwilioService = getattr(row, "twilio_service", None) or TwilioService()
    url = f"{services_url}/{sid}"
    return {
        "sid": sid,
        "unique_name": None if row.name == _generated_name(row.uuid) else row.name,
        "account_sid": sids.account_sid(row.owner.administrator.uuid),
        "friendly_name": row.description or None,
        "date_created": timestamp(row.created_at),
        "date_updated": timestamp(row.updated_at),
        "url": url,
        "webhook_url": settings.webhook_url or None,
        "webhooks_from_rest_enabled": settings.webhooks_from_rest_enabled,
        "reachability_webhooks_enabled": settings.reachability_webhooks_enabled,
        "acl_enabled": settings.acl_enabled,
        "reachability_debouncing_enabled": settings.reachability_debouncing_enabled,
        "reachability_debouncing_window": settings.reachability_debouncing_window,
        "links": {part.lower(): f"{url}/{part}" for part in PARTS},
    }


def create(account: Principal, parameters: Mapping[str, str]) -> Instance:
    """Raises TwilioError, QuotaExceeded."""
    friendly_name, settings = _parse(parameters)
    owner = get_user_model().objects.get(pk=account.administrator_id)
    counted = TwilioService.objects.filter(instance__owner=owner)
    service_uuid = uuid.uuid4()
    row = tenancy.create_instance(
        owner=owner,
        quota=Quota(counted, conf.TWILIO_MAX_SERVICES, f"Service count exceeded ({conf.TWILIO_MAX_SERVICES})"),
        name=_generated_name(service_uuid),
        uuid=service_uuid,
        description=friendly_name or "",
        companion=TwilioService(**settings),
    )
    return find(account, row.pk)


def update(account: Principal, row: Instance, parameters: Mapping[str, str]) -> Instance:
    """Only what is sent changes. Raises TwilioError."""
    friendly_name, settings = _parse(parameters)
    if friendly_name is None and not settings:
        raise TwilioError(400, 54010, "No parameters to update")
    fields = {} if friendly_name is None else {"description": friendly_name}
    tenancy.update_instance(row, companion=TwilioService, changed=settings, **fields)
    return find(account, row.pk)


def _generated_name(service: uuid.UUID) -> str:
    """The instance's name where nobody chose one: the wire has no way to."""
    return f"sync-{service.hex}"


# Parameters


def _parse(parameters: Mapping[str, str]) -> tuple[str | None, dict[str, Any]]:
    """The friendly name (None: not sent) and the settings that are sent."""
    friendly_name = parameters.get("FriendlyName")
    if friendly_name is not None and (len(friendly_name) > FRIENDLY_NAME_LENGTH or "\x00" in friendly_name):
        raise TwilioError(400, 54053, f"Invalid FriendlyName: at most {FRIENDLY_NAME_LENGTH} characters")
    settings = {field: parse(name, parameters[name]) for name, (field, parse) in _PARAMETERS.items() if name in parameters}
    return friendly_name, settings


def _webhook_url(name: str, text: str) -> str:
    if text and not is_webhook_url(text):
        raise TwilioError(400, 54051, f"Invalid {name}: {WEBHOOK_URL_RULE}")
    return text


def is_webhook_url(text: str) -> bool:
    """Whether it keeps to WEBHOOK_URL_RULE."""
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_web and len(text) <= WEBHOOK_URL_LENGTH and text.isprintable() and " " not in text


def _flag(name: str, text: str) -> bool:
    value = boolean(text)
    if value is None:
        raise TwilioError(400, MISSING_PARAMETER, f"Invalid {name}: true or false")
    return value


def _window(name: str, text: str) -> int:
    milliseconds = integer(text)
    if milliseconds is None or milliseconds not in WINDOW:
        raise TwilioError(400, MISSING_PARAMETER, f"Invalid {name}: {WINDOW[0]} to {WINDOW[-1]} milliseconds")
    return milliseconds


_PARAMETERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "WebhookUrl": ("webhook_url", _webhook_url),
    "WebhooksFromRestEnabled": ("webhooks_from_rest_enabled", _flag),
    "ReachabilityWebhooksEnabled": ("reachability_webhooks_enabled", _flag),
    "AclEnabled": ("acl_enabled", _flag),
    "ReachabilityDebouncingEnabled": ("reachability_debouncing_enabled", _flag),
    "ReachabilityDebouncingWindow": ("reachability_debouncing_window", _window),
}
