"""`authorize(principal, action, channel)`: the one place that decides who may do what with a channel.

The matrix is wire/syncano.md §7: managers may everything; a user has what the channel's group or other_permissions give
him; a key that allows anonymous reading has the reading part of other_permissions; everybody else has nothing.
"""

import enum

from django.db.models import Q

from .directory import ChannelInfo
from .errors import PermissionDenied, PublishDisabled
from .principals import READ, Principal

_LEVELS = {"none": 0, "subscribe": 1, "publish": 2}


class Action(enum.Enum):
    READ = 1  # get the channel, its history, live messages
    PUBLISH = 2


def authorize(principal: Principal, action: Action, channel: ChannelInfo) -> str:
    """Return the name of the rule that allows it; raise PermissionDenied (which names the rule) otherwise."""
    if principal.is_manager:
        return "manager"
    if principal.role == READ and action is Action.READ:
        return "read-only administrator"
    in_group = principal.user_id and channel.group_id in principal.group_ids
    if in_group and _LEVELS[channel.group_permissions] >= action.value:
        return f"group_permissions={channel.group_permissions}"
    if principal.user_id and _LEVELS[channel.other_permissions] >= action.value:
        return f"other_permissions={channel.other_permissions}"
    if principal.allow_anonymous_read and action is Action.READ and channel.other_permissions != "none":
        return "allow_anonymous_read"
    raise PermissionDenied(rule=_why_not(principal, channel))


def authorize_publish(principal: Principal, channel: ChannelInfo) -> str:
    """As `authorize`, and the channel must take custom messages: from nobody, not even a manager, when it does not."""
    rule = authorize(principal, Action.PUBLISH, channel)
    if not channel.custom_publish:
        raise PublishDisabled
    return rule


def may_ever(principal: Principal, action: Action) -> bool:
    """Whether some channel could allow it to this caller: otherwise it is refused without a look at the channel."""
    if principal.is_manager or principal.user_id:
        return True
    return action is Action.READ and (principal.role == READ or principal.allow_anonymous_read)


def readable(principal: Principal) -> Q:
    """The same decision for READ as a condition on rows of Channel: those that the caller may see in a list."""
    if principal.is_manager or principal.role == READ:
        return Q()
    open_to_read = ("subscribe", "publish")
    allowed = Q(pk__in=[])
    if principal.user_id or principal.allow_anonymous_read:
        allowed |= Q(other_permissions__in=open_to_read)
    if principal.user_id:
        allowed |= Q(group_id__in=principal.group_ids, group_permissions__in=open_to_read)
    return allowed


def _why_not(principal: Principal, channel: ChannelInfo) -> str:
    if principal.is_anonymous:
        return "no key"
    if not principal.user_id and principal.api_key_id:
        return "an API key alone may do nothing with channels: it needs a user key, or ignore_acl"
    return f"group_permissions={channel.group_permissions}, other_permissions={channel.other_permissions}"
