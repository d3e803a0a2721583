"""Channels: named configurations inside an instance. Their messages and counters are in `models.log`."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .tenancy import Group, Instance
from .validators import validate_channel_name

BUILT_IN_CHANNELS = ("default", "eventlog")


class LiveChannels(models.Manager["Channel"]):
    """Channels whose time has not come: an expired one is gone for everybody, though its row goes a little later."""

    def get_queryset(self) -> models.QuerySet["Channel"]:
        return super().get_queryset().filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


class Channel(models.Model):
    """A named place to publish to: type, permissions, retention."""

    class Type(models.TextChoices):
        DEFAULT = "default"
        SEPARATE_ROOMS = "separate_rooms"

    class Permission(models.TextChoices):
        NONE = "none"
        SUBSCRIBE = "subscribe"
        PUBLISH = "publish"

    instance = models.ForeignKey(Instance, models.CASCADE, related_name="channels", help_text="Whose keys and users open it.")
    name = models.CharField(
        max_length=64,
        validators=[validate_channel_name],
        help_text="Up to 64 lower-case letters, digits, hyphens and underscores; part of the channel's URL.",
    )
    description = models.TextField(blank=True, default="", help_text="For people: what the channel is for.")
    type = models.CharField(
        max_length=14,
        choices=Type,
        default=Type.DEFAULT,
        help_text="default: who listens hears every message. "
        "separate_rooms: who publishes and who listens names a room, and hears that one only.",
    )
    group = models.ForeignKey(
        Group,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="channels",
        help_text="Of the same instance; its users have the group permissions. Empty: nobody has them.",
    )
    group_permissions = models.CharField(
        max_length=9,
        choices=Permission,
        default=Permission.NONE,
        help_text="What the users in the group may do: nothing, subscribe (read), or publish, which includes reading.",
    )
    other_permissions = models.CharField(
        max_length=9,
        choices=Permission,
        default=Permission.NONE,
        help_text="What every user of the instance may do, in the group or not.",
    )
    custom_publish = models.BooleanField(
        default=False, help_text="Clients may publish to it. Without it nobody may, whatever their permissions."
    )
    retention_age = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Seconds a message is kept. Empty: the instance's default. 0: for ever."
    )
    retention_count = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Messages kept. Empty: the instance's default. 0: no limit."
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, db_index=True, help_text="When the channel is deleted, in UTC. Empty: never."
    )
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = LiveChannels()
    with_expired = models.Manager["Channel"]()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["instance", "name"],
                name="channel_name_unique_in_instance",
                violation_error_message="This field must be unique.",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def built_in(self) -> bool:
        """Made with the instance, and gone only with it."""
        return self.name in BUILT_IN_CHANNELS
