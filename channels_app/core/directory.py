"""Look-ups on the hot path: key → principal, instance, channel.

Answers are remembered in the process for at most `conf.DIRECTORY_TTL` seconds, and forgotten at once when something of
them changes here (signals below). What takes a right away also raises `DirectoryVersion`, which every hub looks at each
second: so a revoked key is refused, and its connections are closed, within a second on every process.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import OperationalError, transaction
from django.db.models import F, Q
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from channels_app.conf import conf
from channels_app.models import (
    Administrator,
    AdministratorKey,
    ApiKey,
    Channel,
    Collaborator,
    DirectoryVersion,
    Group,
    Instance,
    InstanceUser,
    Membership,
)

from . import metrics, notifier
from .credentials import Credentials, unseal
from .database import in_thread
from .errors import InvalidKey, NotFound, PubSubError, StoreUnavailable
from .principals import ANONYMOUS, FULL, Principal

MAX_ENTRIES = 50_000
TOUCH_INTERVAL = timedelta(minutes=1)  # how fine "last used" is


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    id: int
    uuid: UUID
    name: str
    owner_id: int
    request_rate: int | None
    poll_rate: int | None


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    id: int
    uuid: UUID
    instance_id: int
    instance_name: str
    name: str
    separate_rooms: bool
    custom_publish: bool
    group_id: int | None
    group_permissions: str
    other_permissions: str
    expires_at: datetime | None = None  # from then on it is gone for everybody

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that its account signs with."""

    secret: str = field(repr=False)
    account: UUID


class _Memory:
    """A bounded dictionary whose entries expire.

    To forget is to begin another dictionary: an answer that another thread has been looking for since before goes into the
    old one, which nobody reads any more.
    """

    def __init__(self) -> None:
        self.entries: dict[Hashable, tuple[float, Any]] = {}
        self.as_of: int | None = None

    def get(self, key: Hashable) -> tuple[float, Any] | None:
        entry = self.entries.get(key)
        return entry if entry is not None and entry[0] > time.monotonic() else None

    def put(self, key: Hashable, value: Any, entries: dict[Hashable, tuple[float, Any]]) -> None:
        """`entries`: as they were before the value was looked for."""
        if len(entries) >= MAX_ENTRIES:
            entries.clear()
        entries[key] = (time.monotonic() + conf.DIRECTORY_TTL, value)

    def join(self, key: Hashable, parts: Mapping[Hashable, Any]) -> None:
        """Remember the parts, in their order, under one key as well: until the first of them is forgotten."""
        entries = self.entries
        found = [entries.get(part, (0.0, None)) for part in parts]
        if len(entries) < MAX_ENTRIES and all(value is part for (_, value), part in zip(found, parts.values(), strict=True)):
            entries[key] = min(until for until, _ in found), tuple(parts.values())

    def clear(self) -> None:
        self.entries = {}
        self.as_of = None  # last: an older version may be told of newer entries, but not a newer one of older


_memory = _Memory()
_used_keys: set[tuple[type[AdministratorKey | ApiKey], int]] = set()  # whose "last used" is to be written
_from_memory_only: ContextVar[bool] = ContextVar("_from_memory_only", default=False)


class NotRemembered(Exception):
    """It would take a look at the database."""


P = ParamSpec("P")
T = TypeVar("T")


def remember(key: Hashable, load: Callable[[], T]) -> T:
    """What was loaded under that key less than a moment ago, or `load`'s answer now.

    None is not remembered: what somebody makes after asking for it is there at once, also for other processes.
    """
    entry = _memory.get(key)
    if entry is not None:
        value: T = entry[1]
        return value
    if _from_memory_only.get():
        raise NotRemembered
    entries = _memory.entries
    metrics.DIRECTORY_LOADS.inc()
    value = load()
    if value is not None:
        _memory.put(key, value, entries)
    return value


# Asking


def instance(name: str) -> InstanceInfo:
    """The instance of that name, in any case. Raises NotFound."""
    return _found("instance", remember(("instance", name), lambda: _load_instance(name.lower())))


def instance_of_uuid(uuid: UUID) -> InstanceInfo:
    """Raises NotFound."""
    return _found("instance", remember(("instance", uuid), lambda: _load_instance_of_uuid(uuid)))


def channel(of: InstanceInfo, name: str) -> ChannelInfo:
    """The instance's channel of that name, in any case. Raises NotFound."""
    return existing(remember(("channel", of.id, name), lambda: _load_channel(of, name.lower())))


def existing(found: ChannelInfo | None) -> ChannelInfo:
    """Raises NotFound for None, and for a channel whose time has come since it was looked up."""
    if found is None or found.has_expired:
        raise NotFound("channel")
    return found


def _found(kind: str, found: T | None) -> T:
    if found is None:
        raise NotFound(kind)
    return found


def resolve(credentials: Credentials, of: InstanceInfo | None) -> Principal:
    """Who brings these credentials to that instance (None: to none in particular).

    Raises InvalidKey for a key that is unknown, or another instance's; NotFound for an administrator without a role in
    the instance, who must not learn that it exists.
    """
    key = ("principal", credentials, of.id if of else 0)
    found = remember(key, lambda: _load_principal(credentials, of))
    if isinstance(found, type):
        raise found() if found is InvalidKey else NotFound("instance")
    return found


def find(credentials: Credentials, instance_name: str, channel_name: str) -> tuple[InstanceInfo, Principal, ChannelInfo]:
    """All three at once: what it finds is one look-up for as long as all of it is remembered. Raises as they do."""
    key = credentials, instance_name, channel_name
    entry = _memory.get(key)
    if entry is not None and not entry[1][2].has_expired:
        known: tuple[InstanceInfo, Principal, ChannelInfo] = entry[1]
        return known
    of = instance(instance_name)
    principal, found = resolve(credentials, of), channel(of, channel_name)
    parts: dict[Hashable, Any] = {
        ("instance", instance_name): of,
        ("principal", credentials, of.id): principal,
        ("channel", of.id, channel_name): found,
    }
    _memory.join(key, parts)
    return of, principal, found


def from_memory(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `ask` finds out here without the database. Raises as it does; NotRemembered where it would ask the database."""
    token = _from_memory_only.set(True)
    try:
        return ask(*args, **kwargs)
    finally:
        _from_memory_only.reset(token)


async def asked(ask: Callable[[], T]) -> T:
    """What `ask` finds out here, for coroutines: at once where all of it is remembered and good, otherwise in a thread.

    Raises as `ask` does; StoreUnavailable too: when the database is away, or slower than `conf.PUBLISH_TIMEOUT`.
    """
    try:
        return from_memory(ask)
    except (PubSubError, NotRemembered):
        pass
    try:
        return await in_thread(ask)
    except OperationalError:
        raise StoreUnavailable from None


def again(channel: ChannelInfo) -> tuple[InstanceInfo, ChannelInfo]:
    """The same channel and its instance as they are now, whatever they are called now. Raises NotFound.

    Also when it has expired: its subscribers are told that it is gone when it goes, not that they may not read it.
    """
    key = ("again", channel.id)
    found = remember(key, lambda: Channel.with_expired.filter(pk=channel.id).select_related("instance").first())
    if found is None:
        raise NotFound("channel")
    return instance_info(found.instance), channel_info(found, found.instance.name)


def signing_key(uuid: UUID) -> SigningKey | None:
    """The further key of an account that has that name; None: there is none, or its administrator is not active."""
    return remember(("signing key", uuid), lambda: _load_signing_key(uuid))


# Loading


def _is_name(text: str) -> bool:
    return len(text) <= 64 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _load_instance(name: str) -> InstanceInfo | None:
    if not _is_name(name):
        return None
    row = Instance.objects.filter(name=name).first()
    return instance_info(row) if row else None


def _load_instance_of_uuid(uuid: UUID) -> InstanceInfo | None:
    row = Instance.objects.filter(uuid=uuid).first()
    return instance_info(row) if row else None


def instance_info(row: Instance) -> InstanceInfo:
    """The configuration row as the hot path sees it."""
    return InstanceInfo(row.pk, row.uuid, row.name, row.owner_id, row.request_rate, row.poll_rate)


def _load_channel(of: InstanceInfo, name: str) -> ChannelInfo | None:
    if not _is_name(name):
        return None
    row = Channel.objects.filter(instance_id=of.id, name=name).first()
    return channel_info(row, of.name) if row else None


def channel_info(row: Channel, instance_name: str) -> ChannelInfo:
    """The configuration row as the hot path sees it."""
    return ChannelInfo(
        id=row.pk,
        uuid=row.uuid,
        instance_id=row.instance_id,
        instance_name=instance_name,
        name=row.name,
        separate_rooms=row.type == Channel.Type.SEPARATE_ROOMS,
        custom_publish=row.custom_publish,
        group_id=row.group_id,
        group_permissions=row.group_permissions,
        other_permissions=row.other_permissions,
        expires_at=row.expires_at,
    )


def _load_principal(credentials: Credentials, of: InstanceInfo | None) -> Principal | type[Exception]:
    if not credentials.api_key:
        return ANONYMOUS
    if not credentials.is_well_formed:
        return InvalidKey
    if credentials.is_account:
        return _load_administrator(credentials, of)
    return _load_key_bearer(credentials, of)


def _load_administrator(credentials: Credentials, of: InstanceInfo | None) -> Principal | type[Exception]:
    row = _administrator(credentials)
    if row is None:
        return InvalidKey
    role = _role(row.user_id, of)
    return NotFound if role is None else Principal(administrator_id=row.user_id, account=row.uuid, role=role)


def _administrator(credentials: Credentials) -> Administrator | None:
    if credentials.account_key is not None:
        key = _account_key(credentials.account_key)
        if key is None or not compare_digest(key.digest, credentials.api_key):
            return None
        _note_use(key)
        return key.administrator
    row = Administrator.objects.filter(key_digest=credentials.api_key, user__is_active=True).first()
    return row if row is not None and credentials.account in (None, row.uuid) else None


def _account_key(uuid: UUID) -> AdministratorKey | None:
    active = AdministratorKey.objects.filter(administrator__user__is_active=True)
    return active.filter(uuid=uuid).select_related("administrator").first()


def _load_signing_key(uuid: UUID) -> SigningKey | None:
    key = _account_key(uuid)
    return SigningKey(unseal(key.sealed), key.administrator.uuid) if key else None


def _role(user_id: int, of: InstanceInfo | None) -> str | None:
    """What the administrator may do in the instance; None: nothing."""
    if of is None:
        return ""
    if of.owner_id == user_id:
        return FULL
    return Collaborator.objects.filter(instance_id=of.id, user_id=user_id).values_list("role", flat=True).first()


def _load_key_bearer(credentials: Credentials, of: InstanceInfo | None) -> Principal | type[Exception]:
    now = timezone.now()
    in_overlap = Q(previous_digest=credentials.api_key, previous_expires_at__gt=now)
    row = ApiKey.objects.filter(Q(digest=credentials.api_key) | in_overlap).first()
    if row is None or (of is not None and row.instance_id != of.id):
        return InvalidKey
    _note_use(row)
    user_id, group_ids = _load_user(credentials.user_key, row.instance_id)
    return Principal(
        api_key_id=row.pk,
        instance_id=row.instance_id,
        ignore_acl=row.ignore_acl,
        allow_user_create=row.allow_user_create,
        allow_group_create=row.allow_group_create,
        allow_anonymous_read=row.allow_anonymous_read,
        user_id=user_id,
        group_ids=group_ids,
    )


def _note_use(key: AdministratorKey | ApiKey) -> None:
    if key.last_used_at is None or timezone.now() - key.last_used_at > TOUCH_INTERVAL:
        _used_keys.add((type(key), key.pk))


def _load_user(digest: str, instance_id: int) -> tuple[int, frozenset[int]]:
    """An unknown user key counts as none: it has no error of its own (wire/syncano.md §3)."""
    if not digest:
        return 0, frozenset()
    user_id = InstanceUser.objects.filter(key_digest=digest, instance_id=instance_id).values_list("id", flat=True).first()
    if user_id is None:
        return 0, frozenset()
    return user_id, frozenset(Membership.objects.filter(user_id=user_id).values_list("group_id", flat=True))


# Forgetting


def forget() -> None:
    """Drop everything remembered in this process."""
    _memory.clear()


def version() -> int:
    """A number that has grown when a right may have been taken away, by any process."""
    return DirectoryVersion.objects.filter(pk=1).values_list("version", flat=True).first() or 0


def as_of() -> int:
    """A version that every answer given from now on takes into account. Ask before you ask for the answers."""
    known = _memory.as_of
    if known is None:
        known = version()
        _memory.clear()  # what was looked up before may not know of that version
        _memory.as_of = known
    return known


def write_last_used() -> None:
    """Store "last used" of the keys seen since the last call: off the hot path."""
    seen = [_used_keys.pop() for _ in range(len(_used_keys))]
    for model in {model for model, _ in seen}:
        model._default_manager.filter(pk__in=[pk for of, pk in seen if of is model]).update(last_used_at=timezone.now())


def raise_version() -> None:
    """Have every process forget what it looked up, and ask again by what right its subscribers read."""
    while not DirectoryVersion.objects.filter(pk=1).update(version=F("version") + 1):
        DirectoryVersion.objects.get_or_create(pk=1)  # the first time ever; of two that come together, each counts


_is_gathered: ContextVar[bool] = ContextVar("_is_gathered", default=False)


@contextmanager
def one_change() -> Iterator[None]:
    """What goes in here counts as one change, at its end. For what takes long: each change holds the version's row until the
    commit, for which the changes of all tenants wait. Use it inside a transaction, as its last part.
    """
    token = _is_gathered.set(True)
    try:
        yield
    finally:
        _is_gathered.reset(token)
    _on_change()


def _on_change(*, created: bool = False, **_: Any) -> None:
    if _is_gathered.get():
        return
    if not created:  # what is new takes no right away
        raise_version()
    transaction.on_commit(_announce_change)


def _announce_change() -> None:
    forget()
    notifier.announce_rights_changed()


def connect_signals() -> None:
    """Called once, when the app is ready."""
    administrators = (Administrator, AdministratorKey, Collaborator, get_user_model())
    for model in (*administrators, ApiKey, Channel, Group, Instance, InstanceUser, Membership):
        post_save.connect(_on_change, sender=model, dispatch_uid=f"directory-save-{model.__name__}")
        post_delete.connect(_on_change, sender=model, dispatch_uid=f"directory-delete-{model.__name__}")
