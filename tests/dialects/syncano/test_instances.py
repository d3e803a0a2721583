"""Instances (wire/syncano.md §4; cases INST-01..05)."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from channels_app.models import Collaborator, Instance

from .conftest import NO_INSTANCE, PERM, REQUIRED, UNIQUE, Wire, account_key, client

pytestmark = pytest.mark.django_db(transaction=True)

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def account(geralt: Any) -> Wire:
    """The owner, outside of any instance."""
    return client(account_key(geralt), base="/v1.1/")


def test_inst_01_an_instance_shows_its_fields_and_links(manager: Wire, geralt: Any) -> None:
    body = manager.get().body
    assert DATE.fullmatch(body.pop("created_at"))
    assert DATE.fullmatch(body.pop("updated_at"))
    assert body == {
        "name": "rivia",
        "description": "",
        "owner": {
            "id": geralt.pk,
            "email": "geralt@rivia.example",
            "first_name": "",
            "last_name": "",
            "is_active": True,
            "has_password": True,
            "metadata": {},
        },
        "role": "full",
        "location": "",
        "metadata": {},
        "links": {
            "self": "/v1.1/instances/rivia/",
            "api_keys": "/v1.1/instances/rivia/api_keys/",
            "users": "/v1.1/instances/rivia/users/",
            "groups": "/v1.1/instances/rivia/groups/",
            "channels": "/v1.1/instances/rivia/channels/",
            "rename": "/v1.1/instances/rivia/rename/",
        },
    }


def test_inst_02_the_list_has_own_and_shared_instances_only(
    account: Wire, rivia: Instance, other_instance: Instance, geralt: Any
) -> None:
    assert account.names("instances/") == ["rivia"]
    Collaborator.objects.create(instance=other_instance, user=geralt, role="read")
    page = account.get("instances/").body
    assert {each["name"]: each["role"] for each in page["objects"]} == {"rivia": "full", "vengerberg": "read"}
    assert (page["next"], page["prev"]) == (None, None)


def test_inst_02_an_api_key_sees_its_own_instance_only(plain: Wire, other_instance: Instance) -> None:
    [instance] = plain.at("/v1.1/").get("instances/").body["objects"]
    assert (instance["name"], instance["role"]) == ("rivia", "api_key")


def test_inst_02_without_a_key_there_is_no_list(keyless: Wire) -> None:
    assert keyless.at("/v1.1/").get("instances/").said == (403, PERM)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "This field may not be null."),
        ("", "This field may not be blank."),
        ("abc", "Ensure this field has at least 5 characters."),
        ("with_underscore", "Enter a valid value consisting of letters, numbers, hyphens."),
        ("1abcde", "Value has to start with a letter."),
        ("abcde-", "Value has to end with a letter or a number."),
        ("a--bcde", "Double hyphens are reserved."),
        ("account", "Unable to use that value. Please choose a different one."),
        ("x" * 65, "Ensure this value has at most 64 characters (it has 65)."),
        ("rivia", "This field must be unique."),
        ("RIVIA", "This field must be unique."),
        (["rivia"], "Not a valid string."),
        (True, "Not a valid string."),
    ],
)
def test_inst_03_a_wrong_name_is_refused(account: Wire, rivia: Instance, name: Any, message: str) -> None:
    assert account.post("instances/", {"name": name}).said == (400, {"name": [message]})
    assert account.names("instances/") == ["rivia"]


def test_inst_03_a_name_is_required(account: Wire) -> None:
    assert account.post("instances/", {}).said == (400, {"name": REQUIRED})
    assert account.post("instances/").said == (400, {"name": REQUIRED})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({f"k{n}": 1 for n in range(9)}, "Too many keys defined (exceeds 8)."),
        ({"k" * 17: 1}, "Too long key defined (exceeds 16)."),
        ({"k": "v" * 4096}, "Not a valid JSON string."),
        ("text", "Not a valid JSON string."),
        ([1], "Not a valid JSON string."),
        ({"k": "\0"}, "Not a valid JSON string."),
    ],
)
def test_inst_03_wrong_metadata_is_refused(account: Wire, metadata: Any, message: str) -> None:
    body = {"name": "kaer-morhen", "metadata": metadata}
    assert account.post("instances/", body).said == (400, {"metadata": [message]})


def test_inst_04_a_created_name_is_lower_cased_and_a_deleted_instance_is_gone(account: Wire) -> None:
    created = account.post("instances/", {"name": "Kaer-Morhen", "description": "keep", "metadata": {"a": 1}})
    assert created.status == 201
    assert (created.body["name"], created.body["description"], created.body["metadata"]) == ("kaer-morhen", "keep", {"a": 1})
    assert account.delete("instances/kaer-morhen/").said == (204, None)
    assert account.get("instances/kaer-morhen/").said == (404, NO_INSTANCE)
    assert account.delete("instances/kaer-morhen/").said == (404, NO_INSTANCE)


def test_inst_05_an_api_key_may_read_its_instance_but_not_change_it(ignore_acl: Wire) -> None:
    assert ignore_acl.get().body["role"] == "api_key"
    assert ignore_acl.at("/v1.1/").post("instances/", {"name": "kaer-morhen"}).said == (403, PERM)
    assert ignore_acl.patch("", {"description": "x"}).said == (403, PERM)
    assert ignore_acl.put("", {}).said == (403, PERM)
    assert ignore_acl.delete().said == (403, PERM)
    assert ignore_acl.post("rename/", {"new_name": "kaer-morhen"}).said == (403, PERM)


def test_only_the_owner_deletes_and_only_the_full_role_changes(rivia: Instance) -> None:
    triss = get_user_model().objects.create_user("triss", "triss@maribor.example", "fire")
    role = Collaborator.objects.create(instance=rivia, user=triss, role="full")
    wire = client(account_key(triss))
    assert wire.patch("", {"description": "shared"}).status == 200
    assert wire.delete().said == (403, PERM)
    role.role = "write"
    role.save()
    assert wire.patch("", {"description": "mine"}).said == (403, PERM)
    assert wire.get().body["role"] == "write"


def test_a_change_keeps_the_name(manager: Wire) -> None:
    assert manager.patch("", {"name": "elsewhere", "description": "new"}).body["description"] == "new"
    assert manager.put("", {"name": "elsewhere", "metadata": {"a": 1}}).body["name"] == "rivia"
    assert manager.get().body["metadata"] == {"a": 1}


def test_a_renamed_instance_keeps_its_channels_and_leaves_its_old_name(manager: Wire, lobby: object) -> None:
    manager.publish(n=1)
    renamed = manager.post("rename/", {"new_name": "Lyria"})
    assert (renamed.status, renamed.body["name"]) == (200, "lyria")
    assert manager.get().said == (404, NO_INSTANCE)
    [message] = manager.at("/v1.1/instances/lyria/").get("channels/lobby/history/").body["objects"]
    assert message["links"]["self"] == "/v1.1/instances/lyria/channels/lobby/history/1/"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, REQUIRED),
        ({"new_name": "abc"}, ["Ensure this field has at least 5 characters."]),
        ({"new_name": "vengerberg"}, UNIQUE),
    ],
)
def test_a_wrong_new_name_is_refused_under_its_own_field(
    manager: Wire, other_instance: Instance, body: dict[str, str], errors: list[str]
) -> None:
    assert manager.post("rename/", body).said == (400, {"new_name": errors})


def test_there_is_a_limit_of_instances(account: Wire, geralt: Any, settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "MAX_INSTANCES": 2}
    for name in ("first", "second"):
        assert account.post("instances/", {"name": name}).status == 201
    assert account.post("instances/", {"name": "third"}).said == (400, {"detail": "Instance count exceeded (2)."})


def test_instances_made_at_once_keep_to_the_limit(account: Wire, settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "MAX_INSTANCES": 3}

    def make(number: int) -> int:
        try:
            return account.post("instances/", {"name": f"instance-{number}"}).status
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(make, range(16))) == [201] * 3 + [400] * 13


def test_a_new_instance_has_the_two_built_in_channels(account: Wire) -> None:
    account.post("instances/", {"name": "kaer-morhen"})
    channels = account.get("instances/kaer-morhen/channels/").body["objects"]
    found = {each["name"]: (each["type"], each["custom_publish"], each["other_permissions"]) for each in channels}
    assert found == {"default": ("separate_rooms", True, "none"), "eventlog": ("separate_rooms", False, "none")}
