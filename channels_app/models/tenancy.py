"""Tenants and who may act in them: instances, keys, users, groups. Change them through `core.tenancy`."""

import uuid

from django.conf import settings
from django.core.validators import MinLengthValidator
from django.db import models

from .validators import validate_instance_name, validate_metadata

DIGEST_LENGTH = 64  # SHA-256, hexadecimal


class Administrator(models.Model):
    """What the account API needs of a Django user: its account key, and free metadata."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="administrator")
    key_digest = models.CharField(max_length=DIGEST_LENGTH, unique=True, editable=False)
    key_prefix = models.CharField("account key", max_length=8, editable=False)
    key_sealed = models.TextField(editable=False)  # the login call hands the key out again
    metadata = models.JSONField(default=dict, blank=True, validators=[validate_metadata])
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    def __str__(self) -> str:
        return self.user.get_username()


class AdministratorKey(models.Model):
    """A further credential of an administrator, which can be taken away by itself. Its secret is shown once."""

    administrator = models.ForeignKey(Administrator, models.CASCADE, related_name="keys")
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    description = models.TextField(blank=True, default="")
    digest = models.CharField(max_length=DIGEST_LENGTH, unique=True, editable=False)
    prefix = models.CharField("secret", max_length=8, editable=False)
    sealed = models.TextField(editable=False)  # access tokens are signed with it
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField("last used", null=True, editable=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.prefix}… {self.description}".strip()


class Instance(models.Model):
    """The tenant: owns channels, keys, users and groups."""

    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[MinLengthValidator(5, "Ensure this field has at least 5 characters."), validate_instance_name],
        help_text="5 to 64 lower-case letters, digits and hyphens; part of every URL.",
    )
    description = models.TextField(blank=True, default="")
    metadata = models.JSONField(default=dict, blank=True, validators=[validate_metadata])
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="instances")
    retention_age = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Seconds a message is kept. Empty: the server's default. 0: for ever."
    )
    retention_count = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Messages kept in a channel. Empty: the server's default. 0: no limit."
    )
    request_rate = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests a second for all keys together. Empty: no limit."
    )
    poll_rate = models.PositiveIntegerField(
        null=True, blank=True, help_text="Long polls a second for all keys together. Empty: no limit."
    )
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name


class Collaborator(models.Model):
    """Another administrator's role in an instance. The owner has the full one without a row here."""

    class Role(models.TextChoices):
        FULL = "full"
        WRITE = "write"
        READ = "read"

    instance = models.ForeignKey(Instance, models.CASCADE, related_name="collaborators")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="collaborations")
    role = models.CharField(max_length=5, choices=Role)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instance", "user"], name="one_role_per_collaborator")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class ApiKey(models.Model):
    """A credential of an instance. Only its digest is kept; the secret is shown once, when it is made."""

    instance = models.ForeignKey(Instance, models.CASCADE, related_name="api_keys", help_text="The key opens this one only.")
    description = models.TextField(blank=True, default="", help_text="For people: which app or server has the key.")
    digest = models.CharField(max_length=DIGEST_LENGTH, unique=True, editable=False)
    prefix = models.CharField("key", max_length=8, editable=False)
    # A rotation with an overlap: the secret before this one, good until that time.
    previous_digest = models.CharField(  # noqa: DJ001  (unique, and most keys have none)
        max_length=DIGEST_LENGTH, unique=True, null=True, editable=False
    )
    previous_expires_at = models.DateTimeField("old key works until", null=True, editable=False)
    ignore_acl = models.BooleanField(
        default=False,
        help_text="Reads, publishes and manages channels whatever their permissions: for your own servers. "
        "Without it the key reads and publishes only beside a user key, with that user's rights.",
    )
    allow_user_create = models.BooleanField(
        default=False, help_text="Makes users of the instance: for an app in which people sign up by themselves."
    )
    allow_group_create = models.BooleanField(
        default=False, help_text="Makes groups of the instance: for an app in which people form them."
    )
    allow_anonymous_read = models.BooleanField(
        default=False,
        help_text="Reads, without a user key, the channels that are open to every user: for an app without a login.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField("last used", null=True, editable=False)

    class Meta:
        ordering = ["id"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}… {self.description}".strip()


class Group(models.Model):
    """A named set of an instance's users, for channel permissions."""

    instance = models.ForeignKey(Instance, models.CASCADE, related_name="groups")
    name = models.CharField(max_length=64, blank=True, default="")
    label = models.CharField(max_length=64, blank=True, default="")
    description = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.label or self.name or f"group {self.pk}"


class InstanceUser(models.Model):
    """An end user inside an instance; acts with an API key and its own user key."""

    instance = models.ForeignKey(Instance, models.CASCADE, related_name="users")
    username = models.CharField(max_length=64)
    password = models.CharField(max_length=128, editable=False)
    profile = models.JSONField(default=dict, blank=True)
    key_digest = models.CharField(max_length=DIGEST_LENGTH, unique=True, editable=False)
    key_prefix = models.CharField("user key", max_length=8, editable=False)
    key_sealed = models.TextField(editable=False)  # the login call hands the key out again
    groups = models.ManyToManyField(Group, through="Membership", related_name="users")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]
        verbose_name = "user"
        constraints = [
            models.UniqueConstraint(
                fields=["instance", "username"],
                name="username_unique_in_instance",
                violation_error_message="This field must be unique.",
            )
        ]

    def __str__(self) -> str:
        return self.username


class Membership(models.Model):
    """A user's place in a group of the same instance."""

    user = models.ForeignKey(InstanceUser, models.CASCADE, related_name="memberships")
    group = models.ForeignKey(Group, models.CASCADE, related_name="memberships")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["user", "group"], name="one_membership_per_group")]

    def __str__(self) -> str:
        return f"{self.user} in {self.group}"


class DirectoryVersion(models.Model):
    """One row whose number grows whenever a right may have been taken away: every process notices within a second."""

    version = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.version)
