"""What only Twilio's wire knows of instances (its services) and channels (its streams)."""

from django.db import models

from .channels import Channel
from .tenancy import Instance

WEBHOOK_URL_LENGTH = 512
UNIQUE_NAME_LENGTH = 320
IDENTITY_LENGTH = 256

SYSTEM = "system"  # who made what was not made with an access token


class TwilioService(models.Model):
    """The settings of an instance as a service. One that has no row has the defaults."""

    instance = models.OneToOneField(Instance, models.CASCADE, primary_key=True, related_name="twilio_service")
    webhook_url = models.CharField(max_length=WEBHOOK_URL_LENGTH, blank=True, default="")
    webhooks_from_rest_enabled = models.BooleanField(default=False)
    reachability_webhooks_enabled = models.BooleanField(default=False)
    acl_enabled = models.BooleanField(default=False)
    reachability_debouncing_enabled = models.BooleanField(default=False)
    reachability_debouncing_window = models.PositiveIntegerField(default=5000)  # milliseconds

    def __str__(self) -> str:
        return f"service {self.instance}"


class TwilioStream(models.Model):
    """A channel that was made as a stream. Other channels are streams too: named as they are, made by the system."""

    channel = models.OneToOneField(Channel, models.CASCADE, primary_key=True, related_name="twilio_stream")
    instance = models.ForeignKey(Instance, models.CASCADE, related_name="twilio_streams")
    unique_name = models.CharField(  # noqa: DJ001  (unique, and streams may have none)
        max_length=UNIQUE_NAME_LENGTH, null=True, blank=True
    )
    created_by = models.CharField(max_length=IDENTITY_LENGTH, default=SYSTEM)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instance", "unique_name"], name="stream_name_unique_in_service")]

    def __str__(self) -> str:
        return self.unique_name or f"stream {self.channel}"
