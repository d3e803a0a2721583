"""System checks: combinations of settings that would lose messages or secrets are refused by id."""

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Any

import limits
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from .conf import MAY_BE_ZERO, PREFIX, Conf, conf
from .environment import value

REDIS_LAYER = "channels_app.core.redis_layer.RedisLayer"
PROCESSES_VARIABLE = "PUBSUB_PROCESSES"  # how many processes of this server share the database; its operator says so

_HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*|\[[0-9A-Fa-f:.]+\]")  # of ALLOWED_HOSTS


@register(Tags.compatibility)
def check_processes(**_: Any) -> Iterable[CheckMessage]:
    """pubsub.E001, E002: what one process may do alone, several may not."""
    try:
        if value(PROCESSES_VARIABLE, 1) <= 1:
            return
    except ImproperlyConfigured:
        return  # check_values says so
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        yield Error(
            "Several processes cannot share a SQLite log: one of them would starve the others.",
            hint="Set DATABASE_URL to a PostgreSQL database, or run one process.",
            id="pubsub.E001",
        )
    if settings.CHANNEL_LAYERS["default"]["BACKEND"] != REDIS_LAYER:
        yield Error(
            "Several processes cannot reach each other without this server's Redis channel layer.",
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
def check_names(**_: Any) -> Iterable[CheckMessage]:
    """pubsub.W007: a misspelt name is a setting that silently is not made."""
    known = {"DATA", PROCESSES_VARIABLE.removeprefix(PREFIX), *(each.name for each in fields(Conf))}
    given = {name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX)}
    for name in sorted(given - known):
        nearest = get_close_matches(name, known, n=1)
        hint = f"Did you mean {PREFIX}{nearest[0]}?" if nearest else "docs/settings.md has every name."
        yield Warning(f"{PREFIX}{name} is no setting of this server.", hint=hint, id="pubsub.W007")


Uses = list[tuple[str, Callable[[Any], object], Iterable[Any]]]  # of a variable: who refuses what it cannot be, its values


@register(Tags.compatibility)
def check_values(**_: Any) -> Iterable[CheckMessage]:
    """pubsub.E006: values that can only be wrong, and would be found out in the middle of somebody's request."""
    for list_uses in (_uses_of_processes, _uses_of_settings, _uses_of_conf):
        try:
            uses = list_uses()
        except ImproperlyConfigured as error:
            yield _wrong_value(str(error))
            continue
        for name, use, values in uses:
            try:
                for each in values:
                    use(each)
            except ValueError as error:
                yield _wrong_value(f"{name}: {error}")


def _uses_of_processes() -> Uses:
    return [(PROCESSES_VARIABLE, _above_zero, [value(PROCESSES_VARIABLE, 1)])]


def _uses_of_settings() -> Uses:
    hosts = [url for url in settings.REDIS_HOSTS if url != settings.REDIS_URL]
    return [
        ("LOG_FORMAT", _one_of("line", "json"), [settings.LOG_FORMAT]),
        ("LOG_LEVEL", _one_of(*settings.LOG_LEVELS), [settings.LOG_LEVEL]),
        ("ALLOWED_HOSTS", _host, settings.ALLOWED_HOSTS),
        ("REDIS_URL", _redis_url, filter(None, [settings.REDIS_URL])),
        ("REDIS_HOSTS", _redis_url, hosts),
        ("DATABASE_TIMEOUT", _above_zero, [settings.DATABASE_TIMEOUT]),
    ]


def _uses_of_conf() -> Uses:
    numbers = [each.name for each in fields(Conf) if each.type in (int, float)]
    pool = settings.DATABASES["default"].get("OPTIONS", {}).get("pool", {})
    return [
        *((PREFIX + name, _not_negative if name in MAY_BE_ZERO else _above_zero, [getattr(conf, name)]) for name in numbers),
        ("PUBSUB_ANONYMOUS_RATE", limits.parse, filter(None, [conf.ANONYMOUS_RATE])),
        ("PUBSUB_FAILED_LOGIN_RATE", limits.parse, filter(None, [conf.FAILED_LOGIN_RATE])),
        ("PUBSUB_FAILED_POLL_RATE", limits.parse, filter(None, [conf.FAILED_POLL_RATE])),
        ("PUBSUB_SEAL_KEYS", Fernet, conf.SEAL_KEYS),
        ("PUBSUB_PUSH_NETWORKS", ip_network, conf.PUSH_NETWORKS),
        ("DATABASE_POOL_TIMEOUT", _above_zero, [pool["timeout"]] if "timeout" in pool else []),
        ("DATABASE_POOL_MIN", _between(0, pool.get("max_size", 0)), [pool["min_size"]] if "min_size" in pool else []),
        ("DATABASE_POOL_MAX", _more_than_lanes, [pool["max_size"]] if pool else []),
    ]


def _above_zero(number: float) -> None:
    if not 0 < number < math.inf:
        raise ValueError(f"{number} is not a number above 0")


def _not_negative(number: float) -> None:
    if not 0 <= number < math.inf:
        raise ValueError(f"{number} is not a number from 0 up")


def _between(least: int, most: int) -> Callable[[int], None]:
    def refuse(number: int) -> None:
        if not least <= number <= most:
            raise ValueError(f"{number} is not between {least} and {most}")

    return refuse


def _one_of(*known: str) -> Callable[[str], None]:
    def refuse(text: str) -> None:
        if text not in known:
            raise ValueError(f"{text!r} is none of {', '.join(known)}")

    return refuse


def _host(text: str) -> None:
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is no host name, such as pubsub.example.com: without a scheme, a port and a path")


def _redis_url(url: str) -> None:
    from redis.connection import parse_url  # only now: without Redis nobody needs it

    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:  # which may quote a part of the password
        raise ValueError("it must look like redis://host:6379/0, rediss://… or unix://…") from None


def _more_than_lanes(connections: int) -> None:
    if connections <= conf.PUBLISH_LANES:  # each keeps one while it is busy
        raise ValueError(f"{connections} connections leave none beside the {conf.PUBLISH_LANES} of PUBSUB_PUBLISH_LANES")


def _wrong_value(message: str) -> Error:
    return Error(message, hint="docs/settings.md has every name, its unit and its default.", id="pubsub.E006")
