"""Every change of configuration: instances, keys, people, channels. The one gate for the API, the admin and commands.

Input checks are the models' own validators: call `clean` (or a serializer that uses the same validators) before.

A row is only ever written in part (`change`): saved as a whole, it would be as somebody once read it. What was taken from
it since would be back, and so would the row itself, had it been deleted.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from channels_app.conf import conf
from channels_app.models import (
    BUILT_IN_CHANNELS,
    Administrator,
    AdministratorKey,
    ApiKey,
    Channel,
    Group,
    Instance,
    InstanceUser,
    Membership,
)

from . import directory, log
from .credentials import Secret, new_account_key, new_administrator_key, new_api_key, new_user_key
from .errors import Conflict, NotFound, QuotaExceeded

MAX_GROUPS_PER_USER = 32

Row = TypeVar("Row", bound=models.Model)


@transaction.atomic
def change(row: models.Model, **fields: Any) -> None:
    """Set these fields of the row, and no others. Raises NotFound."""
    _locked(row)
    for name, value in fields.items():
        setattr(row, name, value)
    stamps = [field.name for field in row._meta.fields if field.name == "updated_at"]
    row.save(update_fields=[*fields, *stamps])


def _locked(row: Row) -> Row:
    """The row as it is now: until the transaction ends, nobody else changes it. Raises NotFound."""
    found = row.__class__._default_manager.select_for_update().filter(pk=row.pk).first()
    if found is None:
        raise NotFound(str(row._meta.verbose_name))
    return found


# Administrators


def administrator_of(user: User) -> Administrator:
    """The account side of a Django user, made at first need (a superuser made on the command line has none yet)."""
    found = Administrator.objects.filter(user_id=user.pk).first()
    if found is not None:
        return found
    secret = new_account_key()
    with transaction.atomic():
        return Administrator.objects.get_or_create(
            user_id=user.pk,
            defaults={"key_digest": secret.digest, "key_prefix": secret.prefix, "key_sealed": secret.sealed},
        )[0]


def reset_account_key(administrator: Administrator) -> Secret:
    """Raises NotFound."""
    secret = new_account_key()
    change(administrator, key_digest=secret.digest, key_prefix=secret.prefix, key_sealed=secret.sealed)
    return secret


def create_administrator_key(administrator: Administrator, **fields: Any) -> tuple[AdministratorKey, Secret]:
    """A new key, and its secret, which can be shown now and never again."""
    secret = new_administrator_key()
    stored = {"digest": secret.digest, "prefix": secret.prefix, "sealed": secret.sealed}
    return AdministratorKey.objects.create(administrator=administrator, **stored, **fields), secret


def renew_administrator_key(key: AdministratorKey) -> Secret:
    """Give the key a new secret; the old one stops at once. Raises NotFound."""
    secret = new_administrator_key()
    change(key, digest=secret.digest, prefix=secret.prefix, sealed=secret.sealed)
    return secret


def revoke_administrator_key(key: AdministratorKey) -> None:
    """As `revoke_api_key`. The access tokens signed with it are refused too."""
    key.delete()


# Instances


class Quota(NamedTuple):
    """How many of these rows an owner may have, and what to say to who asks for one more."""

    rows: models.QuerySet[Any]
    most: int
    exceeded: str

    @property
    def is_used_up(self) -> bool:
        return self.rows.count() >= self.most


def quota_of_instances(owner_id: int | None) -> Quota:
    counted = Instance.objects.filter(owner_id=owner_id, twilio_service=None)  # services have a limit of their own
    return Quota(counted, conf.MAX_INSTANCES, f"Instance count exceeded ({conf.MAX_INSTANCES}).")


@transaction.atomic
def create_instance(
    *, owner: User, name: str, quota: Quota | None = None, companion: models.Model | None = None, **fields: Any
) -> Instance:
    """A new instance with its two built-in channels (wire/syncano.md §4).

    `companion` is a dialect's own row about it, which comes into being with it. Raises QuotaExceeded; NotFound for an owner
    who is gone.
    """
    _locked(owner)  # two at once must not both be the last of the quota
    if quota is not None and quota.is_used_up:
        raise QuotaExceeded(quota.exceeded)
    instance = Instance.objects.create(owner=owner, name=name.lower(), **fields)
    if companion is not None:
        _accompany(companion, instance=instance)
    for channel_name in BUILT_IN_CHANNELS:
        create_channel(
            instance,
            name=channel_name,
            type=Channel.Type.SEPARATE_ROOMS,
            custom_publish=channel_name == "default",
        )
    return instance


@transaction.atomic
def update_instance(instance: Instance, *, companion: type[models.Model], changed: Mapping[str, Any], **fields: Any) -> None:
    """Set these fields of the instance, and in its row of that kind what is `changed`: the row is made when there is none.

    Raises NotFound.
    """
    change(instance, **fields)
    companion._default_manager.update_or_create(instance=instance, defaults=changed)


def rename_instance(instance: Instance, new_name: str) -> None:
    """Raises NotFound."""
    change(instance, name=new_name.lower())


@transaction.atomic
def delete_instance(instance: Instance) -> None:
    """Gone for every reader when this commits; the messages' rows go in batches afterwards. Raises NotFound."""
    _locked(instance)  # so that nothing is made in it meanwhile
    with directory.one_change():
        instance.delete()


@transaction.atomic
def delete_administrators(users: models.QuerySet[User]) -> None:
    """With the instances they own."""
    with directory.one_change():
        users.delete()


# Channels


@transaction.atomic
def create_channel(
    instance: Instance,
    *,
    name: str,
    lifetime: timedelta | None = None,
    companion: models.Model | None = None,
    **fields: Any,
) -> Channel:
    """A new channel, empty, whose first message will have id 1, under an epoch that no channel had before.

    After its `lifetime` it is gone. `companion` is a dialect's own row about it, which comes into being with it.
    """
    remove_expired(Channel.with_expired.filter(instance=instance, name=name.lower()))
    channel = Channel.objects.create(instance=instance, name=name.lower(), **fields)
    if lifetime is not None:
        channel.expires_at = channel.created_at + lifetime
        Channel.objects.filter(pk=channel.pk).update(expires_at=channel.expires_at)
    if companion is not None:
        _accompany(companion, channel=channel)
    log.open_channel(channel.pk)
    return channel


def _accompany(companion: models.Model, **whom: models.Model) -> None:
    for name, row in whom.items():
        setattr(companion, name, row)
    companion.save(force_insert=True)


@transaction.atomic
def set_lifetime(channel_id: int, lifetime: timedelta | None) -> None:
    """How long the channel has from now on; None: for ever. Raises NotFound: what has expired does not come back."""
    channel = Channel.objects.select_for_update().filter(pk=channel_id).first()
    if channel is None:
        raise NotFound("channel")
    channel.expires_at = timezone.now() + lifetime if lifetime is not None else None
    channel.save(update_fields=["expires_at", "updated_at"])


def remove_expired(channels: models.QuerySet[Channel], *, pause: Callable[[], None] | None = None) -> int:
    """Delete those whose time has come, and tell their readers; answers how many.

    Each goes in a transaction of its own; `pause` is called in between.
    """
    removed = 0
    for pk in list(channels.filter(expires_at__lte=timezone.now()).values_list("pk", flat=True)):
        removed += _remove_if_expired(pk)
        if pause is not None:
            pause()
    return removed


@transaction.atomic
def _remove_if_expired(pk: int) -> bool:
    channel = Channel.with_expired.select_for_update().filter(pk=pk, expires_at__lte=timezone.now()).first()
    if channel is not None:
        channel.delete()
    return channel is not None


@transaction.atomic
def delete_channel(channel: Channel) -> None:
    """Gone for every reader when this commits; the messages' rows go in batches afterwards.

    Raises Conflict for a built-in one.
    """
    if channel.built_in:
        raise Conflict(f"Channel '{channel.name}' belongs to the instance and cannot be deleted.")
    channel.delete()


@receiver(post_delete, sender=Channel)
def _drop_from_log(instance: Channel, **_: Any) -> None:
    """However a channel goes (by itself, with its instance, with its owner): its log goes in the same transaction."""
    log.drop_channel(instance.pk)


# API keys


def create_api_key(instance: Instance, **fields: Any) -> tuple[ApiKey, Secret]:
    """A new key, and its secret, which can be shown now and never again."""
    secret = new_api_key()
    return ApiKey.objects.create(instance=instance, digest=secret.digest, prefix=secret.prefix, **fields), secret


@transaction.atomic
def rotate_api_key(key: ApiKey, *, overlap: timedelta = timedelta(0)) -> Secret:
    """Give the key a new secret. The old one works for `overlap` longer; an even older one stops at once. Raises NotFound."""
    secret = new_api_key()
    old_digest = _locked(key).digest  # not what the caller once read: that one may have been stopped since
    change(
        key,
        digest=secret.digest,
        prefix=secret.prefix,
        previous_digest=old_digest if overlap else None,
        previous_expires_at=timezone.now() + overlap if overlap else None,
    )
    return secret


def end_overlaps() -> None:
    """Forget the old secrets whose time is over, and have the connections that were made with them closed.

    New requests with them are refused from that time on anyway; for those who are connected it has to be noticed.
    """
    over = ApiKey.objects.filter(previous_expires_at__lte=timezone.now())
    if not over.exists():
        return  # as nearly always: without a lock
    with transaction.atomic():
        over.update(previous_digest=None, previous_expires_at=None)
        directory.raise_version()


def revoke_api_key(key: ApiKey) -> None:
    """Its requests are refused and its connections closed within a second, on every process."""
    key.delete()


# Users and groups


def create_user(instance: Instance, *, username: str, password: str, profile: Mapping[str, Any] | None = None) -> InstanceUser:
    secret = new_user_key()
    return InstanceUser.objects.create(
        instance=instance,
        username=username.lower(),
        password=make_password(password),
        profile=dict(profile or {}),
        key_digest=secret.digest,
        key_prefix=secret.prefix,
        key_sealed=secret.sealed,
    )


def set_password(user: InstanceUser, password: str) -> None:
    """Raises NotFound."""
    change(user, password=make_password(password))


def password_matches(user: InstanceUser, password: str) -> bool:
    return check_password(password, user.password)


def reset_user_key(user: InstanceUser) -> Secret:
    """Raises NotFound."""
    secret = new_user_key()
    change(user, key_digest=secret.digest, key_prefix=secret.prefix, key_sealed=secret.sealed)
    return secret


@transaction.atomic
def add_to_group(user: InstanceUser, group: Group) -> Membership:
    """Raises NotFound for a user that is gone; Conflict when it is in the group already, or in as many as a user may be."""
    _locked(user)  # two at once must not both be the 32nd
    groups = set(Membership.objects.filter(user=user).values_list("group_id", flat=True))
    if group.pk in groups:
        raise Conflict("User is already a part of that group.")
    if len(groups) >= MAX_GROUPS_PER_USER:
        raise Conflict(f"A user can be in at most {MAX_GROUPS_PER_USER} groups.")
    return Membership.objects.create(user=user, group=group)
