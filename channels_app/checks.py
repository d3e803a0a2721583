"""System checks: combinations of settings that would lose messages or secrets are refused by id."""

import os
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any

import limits
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from .conf import conf

REDIS_LAYER = "channels_app.core.redis_layer.RedisLayer"
PROCESSES_VARIABLE = "PUBSUB_PROCESSES"  # how many processes of this server share the database; its operator says so


@register(Tags.compatibility)
def check_processes(**_: Any) -> Iterable[CheckMessage]:
    """pubsub.E001, E002: what one process may do alone, several may not."""
    if os.environ.get(PROCESSES_VARIABLE, "1") in ("", "0", "1"):
        return
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Error(
            "Several processes cannot share a SQLite log: one of them would starve the others.",
            hint="Set DATABASE_URL to a PostgreSQL database, or run one process.",
            id="pubsub.E001",
        )
    if settings.CHANNEL_LAYERS["default"]["BACKEND"] != REDIS_LAYER:
        yield Error(
            "Several processes reach each other through this server's own Redis channel layer only.",
            hint="Set REDIS_URL, or run one process.",
            id="pubsub.E002",
        )


@register(Tags.database)
def check_connection_age(**_: Any) -> Iterable[CheckMessage]:
    """pubsub.E003: under ASGI every request has a thread of its own, whose connection nobody would ever reuse or close."""
    if settings.DATABASES["default"].get("CONN_MAX_AGE", 0) != 0:
        yield Error(
            "CONN_MAX_AGE must be 0: under ASGI persistent connections leak.",
            hint="Remove it; on PostgreSQL the connection pool does the reuse (DATABASE_POOL_MAX).",
            id="pubsub.E003",
        )


@register(Tags.security)
def check_secret_key(**_: Any) -> Iterable[CheckMessage]:
    """pubsub.E004: keys are sealed under it."""
    key = settings.SECRET_KEY
    if not settings.DEBUG and (len(key) < 32 or len(set(key)) < 8 or key.startswith(("django-insecure-", "change-me"))):
        yield Error(
            "SECRET_KEY is a default or too weak; account and user keys are sealed under it.",
            hint="Unset it to have one generated in PUBSUB_DATA, or set 50 random characters.",
            id="pubsub.E004",
        )


@register(Tags.security, deploy=True)
def check_registration(**_: Any) -> Iterable[CheckMessage]:
    """pubsub.W005: open registration is Syncano's way, and rarely what an operator on the internet wants."""
    if conf.OPEN_REGISTRATION:
        yield Warning(
            "Anybody who reaches this server can register an account and create instances.",
            hint="Set PUBSUB_OPEN_REGISTRATION=false and create administrators in the admin.",
            id="pubsub.W005",
        )


@register(Tags.compatibility)
def check_values(**_: Any) -> Iterable[CheckMessage]:
    """pubsub.E006: values that can only be wrong, and would be found out in the middle of somebody's request."""
    uses: list[tuple[str, Callable[[Any], object], Iterable[Any]]] = [
        (PROCESSES_VARIABLE, int, [os.environ.get(PROCESSES_VARIABLE) or "1"]),
        ("LOG_FORMAT", _log_format, [settings.LOG_FORMAT]),
    ]
    try:
        uses += [
            ("PUBSUB_ANONYMOUS_RATE", limits.parse, filter(None, [conf.ANONYMOUS_RATE])),
            ("PUBSUB_FAILED_LOGIN_RATE", limits.parse, filter(None, [conf.FAILED_LOGIN_RATE])),
            ("PUBSUB_FAILED_POLL_RATE", limits.parse, filter(None, [conf.FAILED_POLL_RATE])),
            ("PUBSUB_SEAL_KEYS", Fernet, conf.SEAL_KEYS),
            ("PUBSUB_PUSH_NETWORKS", ip_network, conf.PUSH_NETWORKS),
            ("PUBSUB_PUSH_ATTEMPTS", _at_least_one, [conf.PUSH_ATTEMPTS]),
            ("PUBSUB_TWILIO_STREAM_BURST", _at_least_one, [conf.TWILIO_STREAM_BURST]),
            ("DATABASE_POOL_MAX", _more_than_lanes, _pool_sizes()),
        ]
    except ImproperlyConfigured as error:
        yield _wrong_value(str(error))
    for name, use, values in uses:
        try:
            for value in values:
                use(value)
        except ValueError as error:
            yield _wrong_value(f"{name}: {error}")


def _log_format(text: str) -> None:
    if text not in ("line", "json"):
        raise ValueError(f"{text!r} is neither 'line' nor 'json'")


def _at_least_one(number: int) -> None:
    if number < 1:
        raise ValueError(f"{number} is less than 1")


def _more_than_lanes(connections: int) -> None:
    if connections <= conf.PUBLISH_LANES:  # each keeps one while it is busy
        raise ValueError(f"{connections} connections leave none beside the {conf.PUBLISH_LANES} of PUBSUB_PUBLISH_LANES")


def _pool_sizes() -> list[int]:
    pool = settings.DATABASES["default"].get("OPTIONS", {}).get("pool")
    return [pool["max_size"]] if pool else []


def _wrong_value(message: str) -> Error:
    return Error(message, hint="docs/settings.md has every name, its unit and its default.", id="pubsub.E006")
