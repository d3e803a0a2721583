"""The way in: in which order a request is checked (wire/syncano.md §1, "Order on publish")."""

from channels_app.core import directory, throttling
from channels_app.core.credentials import Credentials
from channels_app.core.directory import ChannelInfo, InstanceInfo
from channels_app.core.errors import PermissionDenied
from channels_app.core.permissions import Action, authorize, authorize_publish, may_ever
from channels_app.core.principals import Principal


def admit(
    credentials: Credentials, instance_name: str, channel_name: str, action: Action, *, poll: bool = False
) -> tuple[InstanceInfo, Principal, ChannelInfo]:
    """Whether these credentials may do that with the channel; for a publish, also whether it takes custom messages.

    `poll` counts apart from other requests. Raises, the first that holds: NotFound (instance), InvalidKey, PermissionDenied
    (whatever the channel), Throttled, NotFound (channel), PermissionDenied, PublishDisabled.
    """
    instance = directory.instance(instance_name)
    principal = directory.resolve(credentials, instance)
    if not may_ever(principal, action):
        raise PermissionDenied(rule="no channel's permissions could allow it")
    throttling.check_instance(instance, poll=poll)
    channel = directory.channel(instance, channel_name)
    if action is Action.PUBLISH:
        authorize_publish(principal, channel)
    else:
        authorize(principal, action, channel)
    return instance, principal, channel
