from .channels import BUILT_IN_CHANNELS, Channel
from .log import Counter, IdempotencyKey, Lease, Message, Purge, RoomHead
from .tenancy import Administrator, ApiKey, Collaborator, DirectoryVersion, Group, Instance, InstanceUser, Membership

__all__ = [
    "BUILT_IN_CHANNELS",
    "Administrator",
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
]
