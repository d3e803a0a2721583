"""API keys (wire/syncano.md §5; cases KEY-01..04)."""

import re

import pytest

from channels_app.core import tenancy
from channels_app.core.credentials import masked

from .conftest import NOKEY, NOT_FOUND, PERM, Wire, client

pytestmark = pytest.mark.django_db(transaction=True)

FLAGS = {"ignore_acl": False, "allow_user_create": False, "allow_group_create": False, "allow_anonymous_read": False}


def test_key_01_a_new_key_shows_its_secret_and_no_flags(manager: Wire) -> None:
    answer = manager.post("api_keys/", {})
    key = answer.body
    assert answer.status == 201
    assert re.fullmatch(r"[0-9a-f]{39}[13579bdf]", key["api_key"])
    assert {flag: key[flag] for flag in FLAGS} == FLAGS
    assert key["description"] == ""
    self_link = f"/v1.1/instances/rivia/api_keys/{key['id']}/"
    assert key["links"] == {"self": self_link, "reset_key": f"{self_link}reset_key/"}
    assert key.keys() == {"id", "description", "api_key", "created_at", "links"} | FLAGS.keys()


def test_key_01_a_secret_is_shown_once(manager: Wire) -> None:
    created = manager.post("api_keys/", {"description": "phone"}).body
    shown = masked(created["api_key"][:8])
    assert manager.get(f"api_keys/{created['id']}/").body["api_key"] == shown
    assert [each["api_key"] for each in manager.get("api_keys/").body["objects"]] == [shown]
    assert manager.patch(f"api_keys/{created['id']}/", {"description": "tablet"}).body["api_key"] == shown


def test_key_02_a_key_sees_itself_only_and_changes_nothing(manager: Wire, ignore_acl: Wire) -> None:
    other = manager.post("api_keys/", {}).body["id"]
    [own] = ignore_acl.ids("api_keys/")
    assert ignore_acl.get(f"api_keys/{own}/").status == 200
    assert ignore_acl.get(f"api_keys/{other}/").said == (404, NOT_FOUND)
    assert ignore_acl.post("api_keys/", {}).said == (403, PERM)
    assert ignore_acl.delete(f"api_keys/{own}/").said == (403, PERM)
    assert ignore_acl.patch(f"api_keys/{own}/", {}).said == (403, PERM)
    assert ignore_acl.post(f"api_keys/{own}/reset_key/").said == (403, PERM)


def test_key_03_a_reset_key_has_a_new_secret_and_the_old_one_is_unknown(manager: Wire) -> None:
    created = manager.post("api_keys/", {"ignore_acl": True}).body
    path = f"api_keys/{created['id']}/"
    reset = manager.post(f"{path}reset_key/")
    assert (reset.status, reset.body["id"]) == (200, created["id"])
    assert client(created["api_key"]).get("channels/").said == (403, NOKEY)
    assert client(reset.body["api_key"]).get("channels/").status == 200
    assert manager.delete(path).said == (204, None)
    assert client(reset.body["api_key"]).get("channels/").said == (403, NOKEY)
    assert manager.get(path).said == (404, NOT_FOUND)


@pytest.mark.parametrize("flag", FLAGS)
def test_key_04_a_flag_that_is_no_boolean_is_refused(manager: Wire, flag: str) -> None:
    answer = manager.post("api_keys/", {flag: "x"})
    assert answer.said == (400, {flag: ["Must be a valid boolean."]})
    assert manager.ids("api_keys/") == []


@pytest.mark.parametrize("value", [True, 1, "true", "1"])
def test_a_flag_takes_the_usual_spellings(manager: Wire, value: object) -> None:
    assert manager.post("api_keys/", {"ignore_acl": value}).body["ignore_acl"] is True


def test_put_resets_the_flags_and_keeps_the_description(manager: Wire) -> None:
    created = manager.post("api_keys/", {"description": "phone", "ignore_acl": True, "allow_user_create": True}).body
    replaced = manager.put(f"api_keys/{created['id']}/", {}).body
    assert {flag: replaced[flag] for flag in FLAGS} == FLAGS
    assert replaced["description"] == "phone"


@pytest.mark.parametrize("pk", ["0", "-1", "abc", "9" * 30, "1.0", "%00", "٣"])
def test_an_id_that_is_none_is_not_found(manager: Wire, pk: str) -> None:
    assert manager.get(f"api_keys/{pk}/").said == (404, NOT_FOUND)


def test_keys_of_another_instance_do_not_exist_here(manager: Wire, other_instance: object) -> None:
    foreign, _ = tenancy.create_api_key(other_instance)
    for answer in (manager.get(f"api_keys/{foreign.pk}/"), manager.delete(f"api_keys/{foreign.pk}/")):
        assert answer.said == (404, NOT_FOUND)
