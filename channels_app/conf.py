"""The server's own settings: every name, its default, its unit, in one place.

Each can be set by the environment as `PUBSUB_<NAME>` (`from_environment` collects those into `settings.PUBSUB`) or in
`settings.PUBSUB` directly. Use: `from channels_app.conf import conf` and `conf.POLL_WAIT`.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .environment import given, parse

PREFIX = "PUBSUB_"


@dataclass(frozen=True)
class Conf:
    # Publishing
    GROUP_COMMIT: bool = True  # gather concurrent publishes into one transaction
    PUBLISH_LANES: int = 2  # writer threads on PostgreSQL; SQLite always has one
    PUBLISH_QUEUE: int = 10_000  # publishes that may wait for a lane; past it, 503
    PUBLISH_TIMEOUT: float = 5.0  # seconds a publish waits for its commit; past it, 503
    IDEMPOTENCY_TTL: int = 86_400  # seconds an Idempotency-Key is remembered; 0: not at all

    # Retention: what an instance has that says nothing itself. 0: no limit.
    RETENTION_AGE: int = 30 * 86_400  # seconds
    RETENTION_COUNT: int = 0  # messages in a channel
    RETENTION_BATCH: int = 1_000  # rows deleted in one transaction
    RETENTION_INTERVAL: float = 30.0  # seconds between two sweeps

    # Live delivery
    SAFETY_POLL: float = 1.0  # seconds after which a message whose hint was lost is heard at the latest
    SUBSCRIBER_BYTES: int = 1_048_576  # what may wait for one slow subscriber; past it, it reads the log
    POLL_WAIT: float = 310.0  # seconds a long poll is held (more than the SDKs' own 300: a 204 ends their loop)
    SSE_HEARTBEAT: float = 15.0  # seconds between two comments on a silent event stream
    PING_INTERVAL: float = 20.0  # seconds between two pings of a WebSocket, where its dialect says nothing else; 0: never
    PING_TIMEOUT: float = 20.0  # seconds in which a ping must be answered; 0: no matter when
    TWILIO_SESSION_AGE: int = 86_400  # seconds a Twilio client that is away is remembered: how far it got in which stream
    DRAIN_DELAY: float = 0.0  # seconds after SIGTERM in which connections are still taken, while /readyz says 503
    DRAIN_SECONDS: float = 20.0  # over which connections are closed after SIGTERM; 0: all at once

    # Requests sent to others (webhooks)
    PUSH_NETWORKS: list[str] = field(default_factory=list)  # as "10.0.0.0/8": where they may go besides public addresses
    PUSH_TIMEOUT: float = 10.0  # seconds an attempt may take
    PUSH_ATTEMPTS: int = 5
    PUSH_QUEUE: int = 5_000  # that may be on their way; a fifth of it for one account

    # Look-ups and credentials
    DIRECTORY_TTL: float = 1.0  # seconds a looked-up key or channel may be stale; 0: none is remembered
    SEAL_KEYS: list[str] = field(default_factory=list)  # Fernet keys, newest first; none: derived from SECRET_KEY
    OPEN_REGISTRATION: bool = True  # POST /v1.1/account/register/ is open to everybody
    MAX_INSTANCES: int = 16  # per administrator; 0: superusers make them

    # Watching the server
    METRICS_TOKEN: str = ""  # what /metrics asks for, as a Bearer; none: it answers this machine only
    METRICS_BIND: str = ""  # HOST:PORT that answers /metrics, /livez and /readyz besides, until the process ends

    # Limits
    ANONYMOUS_RATE: str = "10/second"  # requests to what needs no key, per address; empty: no limit
    FAILED_POLL_RATE: str = "60/second"  # refused polls, per key; empty: no limit
    FAILED_LOGIN_RATE: str = "30/minute"  # wrong passwords, per address; empty: no limit
    MAX_HEAD: int = 65_536  # bytes of a request that are no body, about: method, URL, headers
    HEAD_TIMEOUT: float = 20.0  # seconds in which a head must have come
    SYNCANO_MAX_BODY: int = 65_536  # bytes
    TWILIO_MAX_BODY: int = 131_072  # bytes; a message of 4 KiB, escaped in the widest way twice, has 74 KiB
    TWILIO_MAX_DATA: int = 4_096  # bytes of a stream message's Data, as compact JSON
    TWILIO_STREAM_RATE: int = 30  # messages a second that a stream takes for ever; 0: no limit
    TWILIO_STREAM_BURST: int = 30  # messages that a stream which was silent takes at once
    TWILIO_STREAM_RETENTION: int = 60  # seconds that its messages are kept, until its channel says otherwise; 0: for ever
    TWILIO_MAX_SERVICES: int = 1_000  # made over Twilio's wire, per administrator; 0: none


# 0 means something there, as said above. Every other number is above it.
MAY_BE_ZERO = frozenset(
    {
        "IDEMPOTENCY_TTL", "RETENTION_AGE", "RETENTION_COUNT", "PING_INTERVAL", "PING_TIMEOUT", "DRAIN_DELAY", "DRAIN_SECONDS",
        "DIRECTORY_TTL", "MAX_INSTANCES", "TWILIO_STREAM_RATE", "TWILIO_STREAM_RETENTION", "TWILIO_MAX_SERVICES",
    }
)  # fmt: skip


def from_environment() -> dict[str, str]:
    """`settings.PUBSUB`, as the environment has it: what is set, unread."""
    written = {each.name: given(PREFIX + each.name, each.type) for each in fields(Conf)}
    return {name: text for name, text in written.items() if text is not None}


def _parse(name: str, kind: Any, value: Any) -> Any:
    return parse(PREFIX + name, kind, value) if isinstance(value, str) else value


def _load() -> Conf:
    kinds = {each.name: each.type for each in fields(Conf)}
    configured: dict[str, Any] = getattr(settings, "PUBSUB", {})
    unknown = sorted(set(configured) - set(kinds))
    if unknown:
        raise ImproperlyConfigured(f"settings.PUBSUB has unknown names: {', '.join(unknown)}.")
    return replace(Conf(), **{name: _parse(name, kinds[name], value) for name, value in configured.items()})


class _LazyConf:
    """Reads the settings at first use, and again after a test has changed them. What it has read are plain attributes."""

    def __init__(self) -> None:
        setting_changed.connect(self._forget)

    def _forget(self, *, setting: str, **_: Any) -> None:
        if setting == "PUBSUB":
            vars(self).clear()

    def __getattr__(self, name: str) -> Any:
        if vars(self):
            raise AttributeError(name)
        vars(self).update(vars(_load()))
        return getattr(self, name)


conf: Conf = _LazyConf()  # type: ignore[assignment]  # behaves as one; made at first use
