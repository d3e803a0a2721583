"""`authorize` against the matrix of wire/syncano.md §7, without any wire."""

import itertools
from uuid import UUID

import pytest

from channels_app.core import tenancy
from channels_app.core.directory import ChannelInfo, channel_info
from channels_app.core.errors import PermissionDenied, PublishDisabled
from channels_app.core.permissions import Action, authorize, authorize_publish, may_ever, readable
from channels_app.core.principals import ANONYMOUS, FULL, READ, WRITE, Principal
from channels_app.models import Channel, Group, Instance

GROUP = 3
COLUMNS = ("other none", "other subscribe", "other publish", "group none", "group subscribe", "group publish")
KEY = {"api_key_id": 1, "instance_id": 1}
CALLERS: dict[str, tuple[Principal, str]] = {
    # name: (caller, for each column the highest it may: none, Read, Publish)
    "owner": (Principal(administrator_id=1, role=FULL), "PPPPPP"),
    "write administrator": (Principal(administrator_id=1, role=WRITE), "PPPPPP"),
    "read administrator": (Principal(administrator_id=1, role=READ), "RRRRRR"),
    "administrator without a role": (Principal(administrator_id=1), "------"),
    "ignore_acl key": (Principal(**KEY, ignore_acl=True), "PPPPPP"),
    "ignore_acl key with a user": (Principal(**KEY, ignore_acl=True, user_id=2), "PPPPPP"),
    "plain key": (Principal(**KEY), "------"),
    "nobody": (ANONYMOUS, "------"),
    "member": (Principal(**KEY, user_id=2, group_ids=frozenset({GROUP})), "-RP-RP"),
    "user of other groups": (Principal(**KEY, user_id=2, group_ids=frozenset({GROUP + 1})), "-RP---"),
    "user without groups": (Principal(**KEY, user_id=2), "-RP---"),
    "anonymous-read key": (Principal(**KEY, allow_anonymous_read=True), "-RR---"),
    "anonymous-read key with a member": (
        Principal(**KEY, allow_anonymous_read=True, user_id=2, group_ids=frozenset({GROUP})),
        "-RP-RP",
    ),
}
CELLS = [(caller, column) for caller, column in itertools.product(CALLERS, range(len(COLUMNS)))]


def channel(column: int, **changes: object) -> ChannelInfo:
    who, level = COLUMNS[column].split()
    fields: dict[str, object] = {
        "id": 1,
        "uuid": UUID(int=1),
        "instance_id": 1,
        "instance_name": "rivia",
        "name": "lobby",
        "separate_rooms": False,
        "custom_publish": True,
        "group_id": GROUP if who == "group" else None,
        "group_permissions": level if who == "group" else "none",
        "other_permissions": level if who == "other" else "none",
    }
    return ChannelInfo(**{**fields, **changes})  # type: ignore[arg-type]


def allowed(principal: Principal, action: Action, to: ChannelInfo) -> bool:
    try:
        return bool(authorize(principal, action, to))
    except PermissionDenied:
        return False


@pytest.mark.parametrize(("caller", "column"), CELLS, ids=[f"{caller}: {COLUMNS[column]}" for caller, column in CELLS])
def test_the_matrix_holds(caller: str, column: int) -> None:
    principal, row = CALLERS[caller]
    assert allowed(principal, Action.READ, channel(column)) is (row[column] in "RP")
    assert allowed(principal, Action.PUBLISH, channel(column)) is (row[column] == "P")


@pytest.mark.parametrize("caller", CALLERS)
def test_whoever_may_ever_may_somewhere_and_nobody_else_may_anywhere(caller: str) -> None:
    principal, _ = CALLERS[caller]
    for action in Action:
        somewhere = any(allowed(principal, action, channel(column)) for column in range(len(COLUMNS)))
        assert may_ever(principal, action) is somewhere


@pytest.mark.django_db
@pytest.mark.parametrize("caller", CALLERS)
def test_a_list_shows_exactly_what_may_be_read(caller: str, django_user_model: type) -> None:
    owner = django_user_model.objects.create(username="owner")
    instance: Instance = tenancy.create_instance(owner=owner, name="rivia")
    group = Group.objects.create(pk=GROUP, instance=instance)
    levels = Channel.Permission.values
    for number, (in_group, group_level, other_level) in enumerate(itertools.product([group, None], levels, levels)):
        options = {"group": in_group, "group_permissions": group_level, "other_permissions": other_level}
        tenancy.create_channel(instance, name=f"c{number}", **options)
    principal, _ = CALLERS[caller]
    shown = {row.name for row in Channel.objects.filter(readable(principal))}
    one_by_one = {row.name for row in Channel.objects.all() if allowed(principal, Action.READ, channel_info(row, "rivia"))}
    assert shown == one_by_one


def test_a_channel_without_a_group_has_no_members() -> None:
    in_no_group = Principal(**KEY, user_id=2, group_ids=frozenset())
    assert not allowed(in_no_group, Action.READ, channel(0, group_permissions="publish"))


@pytest.mark.parametrize("caller", ["owner", "ignore_acl key", "member"])
def test_a_channel_without_custom_publish_takes_no_message_from_anybody(caller: str) -> None:
    principal, _ = CALLERS[caller]
    with pytest.raises(PublishDisabled):
        authorize_publish(principal, channel(5, custom_publish=False))


def test_the_right_is_looked_at_before_custom_publish() -> None:
    with pytest.raises(PermissionDenied):
        authorize_publish(CALLERS["plain key"][0], channel(5, custom_publish=False))


def test_a_refusal_names_the_rule() -> None:
    with pytest.raises(PermissionDenied) as denied:
        authorize(CALLERS["user without groups"][0], Action.PUBLISH, channel(1))
    assert denied.value.rule == "group_permissions=none, other_permissions=subscribe"
