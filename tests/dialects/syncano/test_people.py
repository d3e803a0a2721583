"""Accounts, users, groups and memberships (wire/syncano.md §6)."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher

from channels_app.core import tenancy
from channels_app.core.credentials import masked
from channels_app.dialects.syncano.serializers import people
from channels_app.models import Group, Instance, InstanceUser

from .conftest import NOKEY, NOT_FOUND, PERM, REQUIRED, UNIQUE, Wire, account_key, client, user_key

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNT = Wire("/v1.1/account/")
GERALT = {"email": "geralt@rivia.example", "password": "roach"}


# Accounts


def test_a_login_hands_out_the_account_key(manager: Wire, geralt: Any) -> None:
    answer = ACCOUNT.post("auth/", GERALT)
    assert answer.said == (
        200,
        {
            "id": geralt.pk,
            "email": "geralt@rivia.example",
            "first_name": "",
            "last_name": "",
            "is_active": True,
            "has_password": True,
            "metadata": {},
            "account_key": manager.headers["X-API-KEY"],
        },
    )


def test_an_email_has_no_case(geralt: Any) -> None:
    assert ACCOUNT.post("auth/", {**GERALT, "email": "GERALT@Rivia.example"}).status == 200


@pytest.mark.parametrize(
    ("change", "detail"),
    [({"email": "who@rivia.example"}, "Invalid email."), ({"password": "wrong"}, "Invalid password.")],
)
def test_a_wrong_login_is_told_what_is_wrong(geralt: Any, change: dict[str, str], detail: str) -> None:
    answer = ACCOUNT.post("auth/", {**GERALT, **change})
    assert answer.said == (401, {"detail": detail})
    assert "WWW-Authenticate" not in answer.headers


def test_who_was_deactivated_cannot_log_in_nor_use_the_key(manager: Wire, geralt: Any) -> None:
    geralt.is_active = False
    geralt.save()
    assert ACCOUNT.post("auth/", GERALT).said == (401, {"detail": "Invalid email."})
    assert manager.get("channels/").status == 403


@pytest.mark.parametrize("path", ["auth/", "register/"])
@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"email": REQUIRED, "password": REQUIRED}),
        (
            {"email": "x", "password": ""},
            {"email": ["Enter a valid email address."], "password": ["This field may not be blank."]},
        ),
        ({"email": None, "password": []}, {"email": ["This field may not be null."], "password": ["Not a valid string."]}),
    ],
)
def test_a_login_needs_both_fields(path: str, body: Any, errors: Any) -> None:
    assert ACCOUNT.post(path, body).said == (400, errors)


def test_a_registered_account_can_log_in_and_create_instances() -> None:
    vesemir = {"email": "Vesemir@kaer.example", "password": "wolves-1"}
    registered = ACCOUNT.post("register/", vesemir)
    assert registered.status == 201
    assert re.fullmatch(r"[0-9a-f]{39}[02468ace]", registered.body["account_key"])
    assert ACCOUNT.post("auth/", vesemir).body == registered.body
    wire = client(registered.body["account_key"], base="/v1.1/")
    assert wire.post("instances/", {"name": "kaer-morhen"}).status == 201


@pytest.mark.parametrize("email", ["geralt@rivia.example", "GERALT@rivia.example"])
def test_an_email_registers_once(geralt: Any, email: str) -> None:
    assert ACCOUNT.post("register/", {"email": email, "password": "x"}).said == (400, {"email": UNIQUE})


@pytest.mark.parametrize(
    ("password", "errors"),
    [
        ("zireael", ["This password is too short. It must contain at least 8 characters."]),
        ("password", ["This password is too common."]),
        ("vesemir@kaer", ["The password is too similar to the email address."]),
    ],
)
def test_a_password_that_the_admin_would_refuse_registers_nobody(db: None, password: str, errors: list[str]) -> None:
    answer = ACCOUNT.post("register/", {"email": "vesemir@kaer.example", "password": password})
    assert answer.status == 400
    assert set(errors) <= set(answer.body.pop("password"))
    assert answer.body == {}


def test_registration_can_be_closed(settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "OPEN_REGISTRATION": False}
    assert ACCOUNT.post("register/", {"email": "a@b.example", "password": "x"}).said == (403, PERM)


def test_the_account_is_shown_to_its_own_key_only_and_without_the_key(
    manager: Wire, ignore_acl: Wire, keyless: Wire, geralt: Any
) -> None:
    answer = manager.at("/v1.1/account/").get()
    assert (answer.status, answer.body["id"]) == (200, geralt.pk)
    assert "account_key" not in answer.body
    for wire in (ignore_acl, keyless):
        assert wire.at("/v1.1/account/").get().said == (403, PERM)


def test_the_key_of_an_account_that_another_process_deleted_is_no_key(geralt: Any, settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "DIRECTORY_TTL": 60.0}
    account = client(account_key(geralt), base="/v1.1/")
    assert account.get("account/").status == 200
    for rows in (type(geralt.administrator), type(geralt)):
        rows.objects.all()._raw_delete(using="default")
    assert account.get("account/").said == (403, NOKEY)
    assert account.post("instances/", {"name": "kaer-morhen"}).said == (403, NOKEY)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed, which is what a login costs."""
    found: list[str] = []
    encode = MD5PasswordHasher.encode

    def noted(hasher: MD5PasswordHasher, password: str, salt: str) -> str:
        found.append(password)
        return encode(hasher, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", noted)
    return found


def test_an_unknown_name_costs_as_much_as_a_wrong_password(
    geralt: Any, plain: Wire, ciri: InstanceUser, hashes: list[str]
) -> None:
    hashes.clear()
    ACCOUNT.post("auth/", {"email": "who@rivia.example", "password": "unknown account"})
    ACCOUNT.post("auth/", {**GERALT, "password": "wrong for geralt"})
    plain.post("user/auth/", {"username": "who", "password": "unknown user"})
    plain.post("user/auth/", {"username": "ciri", "password": "wrong for ciri"})
    assert hashes == ["unknown account", "wrong for geralt", "unknown user", "wrong for ciri"]


# Users


@pytest.fixture
def registrar(rivia: Instance) -> Wire:
    """With a key that may create users and groups."""
    return client(tenancy.create_api_key(rivia, allow_user_create=True, allow_group_create=True)[1].text)


def test_a_new_user_is_shown_with_its_key(registrar: Wire) -> None:
    answer = registrar.post("users/", {"username": "Ciri", "password": "zireael", "profile": {"hair": "ashen"}})
    body = answer.body
    assert answer.status == 201
    assert re.fullmatch(r"[0-9a-f]{39}[02468ace]", body.pop("user_key"))
    self_link = f"/v1.1/instances/rivia/users/{body['id']}/"
    assert body.pop("links") == {
        "self": self_link,
        "groups": f"{self_link}groups/",
        "reset_key": f"{self_link}reset_key/",
    }
    assert body == {"id": body["id"], "username": "ciri", "profile": {"hair": "ashen"}, "groups": []}


def test_only_administrators_and_allowed_keys_create_users(
    manager: Wire, plain: Wire, ignore_acl: Wire, user: Wire, keyless: Wire
) -> None:
    body = {"username": "dandelion", "password": "lute"}
    for wire in (plain, ignore_acl, user, keyless):
        assert wire.post("users/", body).said == (403, PERM)
    assert manager.post("users/", body).status == 201


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"username": "ciri"}, {"username": UNIQUE}),
        ({"username": "CIRI"}, {"username": UNIQUE}),
        ({"username": ""}, {"username": ["This field may not be blank."]}),
        ({"username": "x" * 65}, {"username": ["Ensure this field has no more than 64 characters."]}),
        ({"password": None}, {"password": ["This field may not be null."]}),
        ({"profile": [1]}, {"profile": ["Not a valid JSON string."]}),
        ({"profile": {"a": {"b": "\0"}}}, {"profile": ["Not a valid JSON string."]}),
        ({"username": "a\0"}, {"username": ["Null characters are not allowed."]}),
    ],
)
def test_a_wrong_user_is_refused(manager: Wire, ciri: InstanceUser, change: Any, errors: Any) -> None:
    body = {"username": "triss", "password": "fire", **change}
    assert manager.post("users/", body).said == (400, errors)


def test_a_deep_profile_is_refused(manager: Wire) -> None:
    deep = b'{"a":' * 500 + b"1" + b"}" * 500
    answer = manager.post("users/", b'{"username":"triss","password":"x","profile":' + deep + b"}")
    assert answer.said == (400, {"profile": ["Not a valid JSON string."]})


def test_a_user_sees_itself_only_and_the_key_of_nobody(manager: Wire, user: Wire, ciri: InstanceUser, rivia: Instance) -> None:
    other = tenancy.create_user(rivia, username="triss", password="fire")
    assert manager.ids("users/") == [ciri.pk, other.pk]
    assert user.ids("users/") == [ciri.pk]
    assert user.get(f"users/{other.pk}/").said == (404, NOT_FOUND)
    assert manager.get(f"users/{ciri.pk}/").body["user_key"] == masked(ciri.key_prefix)


def test_a_plain_key_lists_no_users(plain: Wire) -> None:
    assert plain.get("users/").said == (403, PERM)


def test_an_administrator_changes_and_deletes_users(manager: Wire, user: Wire, ciri: InstanceUser) -> None:
    path = f"users/{ciri.pk}/"
    assert manager.patch(path, {"username": "Zireael", "profile": {"a": 1}}).body["username"] == "zireael"
    assert manager.patch(path, {"password": "new"}).status == 200
    login = {"username": "zireael", "password": "new"}
    assert user.post("user/auth/", login).status == 200
    assert user.patch(path, {"profile": {}}).said == (403, PERM)
    assert manager.delete(path).said == (204, None)
    assert manager.get(path).said == (404, NOT_FOUND)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], None]:
    """Have the user deleted by somebody else just before the module's function changes it."""

    def late(module: Any, function: str) -> None:
        change = getattr(module, function)

        def too_late(user: InstanceUser, *more: Any) -> Any:
            InstanceUser.objects.filter(pk=user.pk).delete()
            return change(user, *more)

        monkeypatch.setattr(module, function, too_late)

    return late


def test_who_is_deleted_while_the_password_changes_is_not_found(
    manager: Wire, ciri: InstanceUser, late: Callable[[Any, str], None]
) -> None:
    late(people, "set_password")
    assert manager.patch(f"users/{ciri.pk}/", {"password": "new"}).said == (404, NOT_FOUND)


def test_who_is_deleted_while_joining_a_group_is_not_found(
    manager: Wire, ciri: InstanceUser, witchers: Group, late: Callable[[Any, str], None]
) -> None:
    late(tenancy, "add_to_group")
    assert manager.post(f"groups/{witchers.pk}/users/", {"user": ciri.pk}).said == (404, NOT_FOUND)


def test_who_is_deleted_while_the_key_is_reset_is_not_found(
    manager: Wire, ciri: InstanceUser, late: Callable[[Any, str], None]
) -> None:
    late(tenancy, "reset_user_key")
    assert manager.post(f"users/{ciri.pk}/reset_key/").said == (404, NOT_FOUND)


def test_a_reset_user_key_replaces_the_old_one(manager: Wire, user: Wire, ciri: InstanceUser, api_key: str) -> None:
    new_key = manager.post(f"users/{ciri.pk}/reset_key/").body["user_key"]
    assert user.get("user/").said == (403, PERM)
    assert client(api_key, new_key).get("user/").status == 200


def test_a_user_logs_in_with_any_key_of_the_instance(plain: Wire, manager: Wire, ciri: InstanceUser) -> None:
    for wire in (plain, manager):
        answer = wire.post("user/auth/", {"username": "CIRI", "password": "zireael"})
        assert (answer.status, answer.body["user_key"]) == (200, user_key(ciri))


@pytest.mark.parametrize(
    ("body", "status", "errors"),
    [
        ({"username": "who", "password": "zireael"}, 401, {"detail": "Invalid username."}),
        ({"username": "ciri", "password": "wrong"}, 401, {"detail": "Invalid password."}),
        ({}, 400, {"username": REQUIRED, "password": REQUIRED}),
    ],
)
def test_a_wrong_user_login_is_told_what_is_wrong(plain: Wire, ciri: InstanceUser, body: Any, status: int, errors: Any) -> None:
    assert plain.post("user/auth/", body).said == (status, errors)


def test_a_user_login_needs_a_key(keyless: Wire, ciri: InstanceUser) -> None:
    assert keyless.post("user/auth/", {"username": "ciri", "password": "zireael"}).said == (403, PERM)


def test_a_user_reads_and_changes_itself(user: Wire, ciri: InstanceUser) -> None:
    assert user.get("user/").body["id"] == ciri.pk
    assert user.put("user/", {"username": "ciri", "profile": {"level": 2}}).body["profile"] == {"level": 2}
    assert user.patch("user/", {"profile": {"level": 3}}).body["profile"] == {"level": 3}


def test_the_own_user_needs_an_api_key_and_a_user_key(manager: Wire, plain: Wire, user: Wire) -> None:
    account_with_user = client(manager.headers["X-API-KEY"], user.headers["X-USER-KEY"])
    for wire in (manager, plain, account_with_user):
        assert wire.get("user/").said == (403, PERM)


# Groups


def test_a_new_group_is_shown_with_its_links(registrar: Wire) -> None:
    answer = registrar.post("groups/", {"label": "witchers"})
    self_link = f"/v1.1/instances/rivia/groups/{answer.body['id']}/"
    assert answer.said == (
        201,
        {
            "id": answer.body["id"],
            "name": "",
            "label": "witchers",
            "description": "",
            "links": {"self": self_link, "users": f"{self_link}users/"},
        },
    )


def test_groups_are_read_by_every_key_and_changed_by_administrators(
    manager: Wire, plain: Wire, user: Wire, keyless: Wire, witchers: Group
) -> None:
    path = f"groups/{witchers.pk}/"
    for wire in (plain, user):
        assert wire.ids("groups/") == [witchers.pk]
        assert wire.post("groups/", {}).said == (403, PERM)
        assert wire.patch(path, {"label": "x"}).said == (403, PERM)
        assert wire.delete(path).said == (403, PERM)
    assert keyless.get("groups/").said == (403, PERM)
    assert manager.patch(path, {"label": "x"}).body["label"] == "x"
    assert manager.delete(path).said == (204, None)
    assert manager.get(path).said == (404, NOT_FOUND)


def test_a_channel_outlives_its_group(manager: Wire, witchers: Group) -> None:
    manager.post("channels/", {"name": "kaer", "group": witchers.pk, "group_permissions": "publish"})
    manager.delete(f"groups/{witchers.pk}/")
    assert manager.get("channels/kaer/").body["group"] is None


# Memberships, from both sides


@pytest.fixture(params=["group", "user"])
def side(request: pytest.FixtureRequest, ciri: InstanceUser, witchers: Group) -> tuple[str, str, str, int]:
    """The list of memberships, one of them, the body's field, and the id it takes."""
    if request.param == "group":
        return f"groups/{witchers.pk}/users/", f"groups/{witchers.pk}/users/{ciri.pk}/", "user", ciri.pk
    return f"users/{ciri.pk}/groups/", f"users/{ciri.pk}/groups/{witchers.pk}/", "group", witchers.pk


def test_a_user_joins_and_leaves_a_group(manager: Wire, side: tuple[str, str, str, int]) -> None:
    path, member_path, field, pk = side
    joined = manager.post(path, {field: pk})
    assert joined.status == 201
    assert joined.body[field]["id"] == pk
    assert joined.body["links"] == {"self": f"/v1.1/instances/rivia/{member_path}"}
    assert [each[field]["id"] for each in manager.get(path).body["objects"]] == [pk]
    assert manager.get(member_path).body == joined.body
    assert manager.delete(member_path).said == (204, None)
    assert manager.get(member_path).said == (404, NOT_FOUND)
    assert manager.get(path).body["objects"] == []


def test_a_user_joins_a_group_once(manager: Wire, side: tuple[str, str, str, int]) -> None:
    path, _, field, pk = side
    manager.post(path, {field: pk})
    assert manager.post(path, {field: pk}).said == (400, {"detail": "User is already a part of that group."})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (9999, 'Invalid pk "9999" - object does not exist.'),
        ("x", "Incorrect type. Expected pk value, received str."),
        (True, "Incorrect type. Expected pk value, received bool."),
        (None, "This field may not be null."),
    ],
)
def test_who_joins_must_exist(manager: Wire, side: tuple[str, str, str, int], value: Any, message: str) -> None:
    path, _, field, _ = side
    assert manager.post(path, {field: value}).said == (400, {field: [message]})
    assert manager.post(path, {}).said == (400, {field: REQUIRED})


def test_only_administrators_change_memberships(
    user: Wire, ignore_acl: Wire, plain: Wire, side: tuple[str, str, str, int]
) -> None:
    path, member_path, field, pk = side
    for wire in (user, ignore_acl, plain):
        assert wire.post(path, {field: pk}).said == (403, PERM)
        assert wire.delete(member_path).said == (403, PERM)


@pytest.mark.parametrize(
    ("path", "detail"), [("groups/9999/users/", "Group was not found."), ("users/9999/groups/", "User was not found.")]
)
def test_memberships_of_nobody_are_not_found(manager: Wire, path: str, detail: str) -> None:
    assert manager.get(path).said == (404, {"detail": detail})
    assert manager.post(path, {}).said == (404, {"detail": detail})


def test_a_user_is_in_at_most_32_groups(manager: Wire, ciri: InstanceUser, rivia: Instance) -> None:
    groups = [Group.objects.create(instance=rivia, label=str(number)) for number in range(33)]
    for group in groups[:32]:
        tenancy.add_to_group(ciri, group)
    answer = manager.post(f"users/{ciri.pk}/groups/", {"group": groups[32].pk})
    assert answer.said == (400, {"detail": "A user can be in at most 32 groups."})


def test_people_of_another_instance_do_not_exist_here(manager: Wire, other_instance: Instance, witchers: Group) -> None:
    stranger = tenancy.create_user(other_instance, username="stranger", password="x")
    foreign = Group.objects.create(instance=other_instance, label="mages")
    assert manager.get(f"users/{stranger.pk}/").said == (404, NOT_FOUND)
    assert manager.get(f"groups/{foreign.pk}/").said == (404, NOT_FOUND)
    answer = manager.post(f"groups/{witchers.pk}/users/", {"user": stranger.pk})
    assert answer.said == (400, {"user": [f'Invalid pk "{stranger.pk}" - object does not exist.']})
