from .channels import BUILT_IN_CHANNELS, Channel
from .log import Counter, IdempotencyKey, Lease, Message, Purge, RoomHead
from .tenancy import (
    Administrator,
    AdministratorKey,
    ApiKey,
    Collaborator,
    DirectoryVersion,
    Group,
    Instance,
    InstanceUser,
    Membership,
)
from .twilio import TwilioService, TwilioStream

__all__ = [
    "BUILT_IN_CHANNELS",
    "Administrator",
    "AdministratorKey",
    "ApiKey",
    "Channel",
    "Collaborator",
    "Counter",
    "DirectoryVersion",
    "Group",
    "IdempotencyKey",
    "Instance",
    "InstanceUser",
    "Lease",
    "Membership",
    "Message",
    "Purge",
    "RoomHead",
    "TwilioService",
    "TwilioStream",
]
