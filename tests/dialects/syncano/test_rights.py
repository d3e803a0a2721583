"""Who may do what with a channel (wire/syncano.md §7; cases PERM-01..13)."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from channels_app.core import tenancy
from channels_app.models import Collaborator, Group, Instance, InstanceUser

from .conftest import NOKEY, PERM, Wire, account_key, client, user_key

pytestmark = pytest.mark.django_db(transaction=True)

# The columns of the matrix: name of the channel → its permissions.
COLUMNS = {
    "other-none": {},
    "other-subscribe": {"other_permissions": "subscribe"},
    "other-publish": {"other_permissions": "publish"},
    "group-none": {"in_group": True},
    "group-subscribe": {"in_group": True, "group_permissions": "subscribe"},
    "group-publish": {"in_group": True, "group_permissions": "publish"},
}
ALL = ["1111"] * 6
NOTHING = ["0000"] * 6
READS_ALL = ["1110"] * 6


@pytest.fixture(autouse=True)
def columns(rivia: Instance, witchers: Group) -> None:
    for name, permissions in COLUMNS.items():
        options = {key: value for key, value in permissions.items() if key != "in_group"}
        group = witchers if "in_group" in permissions else None
        tenancy.create_channel(rivia, name=name, custom_publish=True, group=group, **options)


def row(wire: Wire) -> list[str]:
    """What the caller may: get, poll, history, publish, for each column. (501: let in, but no ASGI server here.)"""
    return ["".join(str(int(each)) for each in cell(wire, name)) for name in COLUMNS]


def cell(wire: Wire, name: str) -> list[bool]:
    answers = [
        wire.get(f"channels/{name}/"),
        wire.get(f"channels/{name}/poll/"),
        wire.get(f"channels/{name}/history/"),
        wire.post(f"channels/{name}/publish/", {}),
    ]
    assert all(answer.said == (403, PERM) for answer in answers if answer.status not in (200, 201, 501))
    return [answer.status != 403 for answer in answers]


def listed(wire: Wire) -> list[str]:
    return [name for name in wire.names("channels/") if name in COLUMNS]


@pytest.fixture
def member(user: Wire, ciri: InstanceUser, witchers: Group) -> Wire:
    """The user, in the channels' group."""
    tenancy.add_to_group(ciri, witchers)
    return user


def collaborator(instance: Instance, role: str) -> Wire:
    triss = get_user_model().objects.create_user("triss", "triss@maribor.example", "fire")
    Collaborator.objects.create(instance=instance, user=triss, role=role)
    return client(account_key(triss))


def test_perm_01_managers_may_everything(manager: Wire, ignore_acl: Wire, user: Wire) -> None:
    with_user = client(ignore_acl.headers["X-API-KEY"], user.headers["X-USER-KEY"])
    for wire in (manager, ignore_acl, with_user):
        assert row(wire) == ALL
        assert listed(wire) == list(COLUMNS)


@pytest.mark.parametrize(("role", "expected"), [("full", ALL), ("write", ALL), ("read", READS_ALL)])
def test_perm_01_an_administrator_may_what_the_role_says(rivia: Instance, role: str, expected: list[str]) -> None:
    wire = collaborator(rivia, role)
    assert row(wire) == expected
    assert wire.post("channels/", {"name": "new"}).status == (403 if role == "read" else 201)


def test_perm_02_a_plain_key_may_nothing(plain: Wire) -> None:
    assert row(plain) == NOTHING
    assert plain.get("channels/").said == (403, PERM)


def test_perm_03_an_unknown_user_key_counts_as_none(api_key: str) -> None:
    for wire in (client(api_key, "f" * 40), client(api_key, "nonsense")):
        assert row(wire) == NOTHING
        assert wire.get("channels/").said == (403, PERM)


def test_perm_03_a_user_key_of_another_instance_counts_as_none(api_key: str, other_instance: Instance) -> None:
    stranger = tenancy.create_user(other_instance, username="stranger", password="x")
    assert row(client(api_key, user_key(stranger))) == NOTHING


def test_perm_04_without_a_key_nothing_is_permitted_whatever_user_key_comes(user: Wire) -> None:
    assert row(client()) == NOTHING
    assert row(client("", user.headers["X-USER-KEY"])) == NOTHING


def test_perm_05_a_user_has_what_other_permissions_give(user: Wire) -> None:
    assert row(user) == ["0000", "1110", "1111", "0000", "0000", "0000"]
    assert listed(user) == ["other-subscribe", "other-publish"]


def test_perm_06_a_member_has_what_the_group_gives_as_well(member: Wire) -> None:
    assert row(member) == ["0000", "1110", "1111", "0000", "1110", "1111"]
    assert listed(member) == ["other-subscribe", "other-publish", "group-subscribe", "group-publish"]


def test_perm_06_who_leaves_the_group_loses_it(manager: Wire, member: Wire, ciri: InstanceUser, witchers: Group) -> None:
    assert manager.delete(f"groups/{witchers.pk}/users/{ciri.pk}/").status == 204
    assert listed(member) == ["other-subscribe", "other-publish"]


def test_perm_07_the_author_is_who_the_keys_say(
    manager: Wire, ignore_acl: Wire, user: Wire, geralt: Any, ciri: InstanceUser
) -> None:
    def author(wire: Wire) -> dict[str, int]:
        return wire.post("channels/other-publish/publish/", {}).body["author"]

    [key] = ignore_acl.ids("api_keys/")
    [users_key] = user.ids("api_keys/")
    assert author(manager) == {"admin": geralt.pk}
    assert author(ignore_acl) == {"api_key": key}
    assert author(user) == {"api_key": users_key, "user": ciri.pk}
    both = client(manager.headers["X-API-KEY"], user.headers["X-USER-KEY"])
    assert author(both) == {"admin": geralt.pk}


def test_perm_08_an_anonymous_read_key_reads_what_other_permissions_open(anonymous_read: Wire) -> None:
    assert row(anonymous_read)[1:3] == ["1110", "1110"]
    assert listed(anonymous_read) == ["other-subscribe", "other-publish"]


def test_perm_09_an_anonymous_read_key_reads_nothing_else(anonymous_read: Wire) -> None:
    assert row(anonymous_read) == ["0000", "1110", "1110", "0000", "0000", "0000"]


def test_perm_09_with_a_user_it_may_what_either_may(anonymous_read: Wire, member: Wire) -> None:
    both = client(anonymous_read.headers["X-API-KEY"], member.headers["X-USER-KEY"])
    assert row(both) == ["0000", "1110", "1111", "0000", "1110", "1111"]


def test_perm_10_a_user_changes_no_channel(member: Wire, manager: Wire) -> None:
    before = manager.get("channels/other-publish/").body
    assert member.post("channels/", {"name": "mine"}).said == (403, PERM)
    for method in ("PATCH", "PUT", "DELETE"):
        assert member.ask(method, "channels/other-publish/", {"description": "mine"}).said == (403, PERM)
    assert manager.get("channels/other-publish/").body == before


def test_perm_11_an_ignore_acl_key_creates_changes_and_deletes_channels(ignore_acl: Wire) -> None:
    assert ignore_acl.post("channels/", {"name": "mine"}).status == 201
    assert ignore_acl.patch("channels/mine/", {"description": "x"}).status == 200
    assert ignore_acl.delete("channels/mine/").status == 204


def test_perm_12_the_right_is_looked_at_before_custom_publish(user: Wire, rivia: Instance) -> None:
    tenancy.create_channel(rivia, name="closed")
    assert user.post("channels/closed/publish/", {}).said == (403, PERM)


def test_a_channel_of_another_instance_is_as_unknown_as_a_missing_one(manager: Wire, other_instance: Instance) -> None:
    tenancy.create_channel(other_instance, name="secret", other_permissions="publish", custom_publish=True)
    for path in ("channels/{}/", "channels/{}/history/", "channels/{}/history/1/", "channels/{}/poll/"):
        assert manager.get(path.format("secret")).said == manager.get(path.format("missing")).said
    assert client("a" * 39 + "1", base="/v1.1/instances/vengerberg/").get("channels/secret/").said == (403, NOKEY)
