"""Channels and their configuration (wire/syncano.md §7; cases CH-01..13)."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from channels_app.core import tenancy
from channels_app.dialects.syncano.serializers.channels import NewChannelSerializer
from channels_app.dialects.syncano.views.channels import ChannelViewSet
from channels_app.models import Channel, Group, Instance

from .conftest import NOT_FOUND, PERM, REQUIRED, UNIQUE, Wire

pytestmark = pytest.mark.django_db(transaction=True)

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
NAME_CHARACTERS = "Enter a valid value consisting of letters, numbers, underscores, hyphens."


def test_ch_01_a_name_is_enough_for_a_channel(manager: Wire) -> None:
    answer = manager.post("channels/", {"name": "lobby"})
    body = answer.body
    assert answer.status == 201
    assert DATE.fullmatch(body.pop("created_at"))
    assert DATE.fullmatch(body.pop("updated_at"))
    assert body == {
        "name": "lobby",
        "description": "",
        "type": "default",
        "group": None,
        "group_permissions": "none",
        "other_permissions": "none",
        "custom_publish": False,
        "links": {
            "self": "/v1.1/instances/rivia/channels/lobby/",
            "poll": "/v1.1/instances/rivia/channels/lobby/poll/",
            "publish": "/v1.1/instances/rivia/channels/lobby/publish/",
            "history": "/v1.1/instances/rivia/channels/lobby/history/",
        },
    }


def test_ch_02_names_are_trimmed_and_lower_cased(manager: Wire) -> None:
    assert manager.post("channels/", {"name": "  Mixed "}).body["name"] == "mixed"
    assert manager.get("channels/MIXED/").body["name"] == "mixed"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "This field may not be blank."),
        (None, "This field may not be null."),
        ("abc def", NAME_CHARACTERS),
        ("a.b", NAME_CHARACTERS),
        ("żubr", NAME_CHARACTERS),
        ("1abc", "Value has to start with a letter."),
        ("abc_", "Value has to end with a letter or a number."),
        ("x" * 65, "Ensure this field has no more than 64 characters."),
        ("lobby", UNIQUE[0]),
        ("LOBBY", UNIQUE[0]),
        ({}, "Not a valid string."),
    ],
)
def test_ch_03_a_wrong_name_is_refused(manager: Wire, lobby: Channel, name: Any, message: str) -> None:
    assert manager.post("channels/", {"name": name}).said == (400, {"name": [message]})


def test_ch_03_a_name_is_required(manager: Wire) -> None:
    assert manager.post("channels/", {}).said == (400, {"name": REQUIRED})


def test_ch_03_a_nul_in_a_text_is_refused(manager: Wire) -> None:
    answer = manager.post("channels/", {"name": "a\0b", "description": "\0"})
    assert answer.status == 400
    assert answer.body["description"] == ["Null characters are not allowed."]


@pytest.mark.parametrize("field", ["type", "group_permissions", "other_permissions"])
@pytest.mark.parametrize(("value", "shown"), [("bogus", "bogus"), ("", ""), (7, "7"), (True, "True")])
def test_ch_04_a_bogus_choice_is_refused(manager: Wire, field: str, value: Any, shown: str) -> None:
    assert manager.post("channels/", {"name": "lobby", field: value}).said == (
        400,
        {field: [f'"{shown}" is not a valid choice.']},
    )


@pytest.mark.parametrize("group", [999999, 10**30])
def test_ch_04_an_unknown_group_is_refused(manager: Wire, group: int) -> None:
    answer = manager.post("channels/", {"name": "lobby", "group": group})
    assert answer.said == (400, {"group": [f'Invalid pk "{group}" - object does not exist.']})


def test_ch_04_a_group_that_is_no_id_is_refused(manager: Wire) -> None:
    answer = manager.post("channels/", {"name": "lobby", "group": "abc"})
    assert answer.said == (400, {"group": ["Incorrect type. Expected pk value, received str."]})


def test_ch_04_a_group_of_another_instance_does_not_exist_here(manager: Wire, other_instance: Instance) -> None:
    foreign = Group.objects.create(instance=other_instance, label="mages")
    answer = manager.post("channels/", {"name": "lobby", "group": foreign.pk})
    assert answer.said == (400, {"group": [f'Invalid pk "{foreign.pk}" - object does not exist.']})


def test_ch_05_extra_fields_are_ignored_and_booleans_may_be_text(manager: Wire) -> None:
    body = {"name": "lobby", "custom_publish": "true", "instanceName": "rivia", "created_at": "yesterday"}
    answer = manager.post("channels/", body)
    assert (answer.status, answer.body["custom_publish"]) == (201, True)


@pytest.mark.parametrize(("value", "type"), [(0, "default"), (1, "separate_rooms"), ("separate_rooms", "separate_rooms")])
def test_ch_05_types_may_be_numbers(manager: Wire, value: Any, type: str) -> None:
    assert manager.post("channels/", {"name": "lobby", "type": value}).body["type"] == type


def test_ch_06_a_broken_body_is_a_parse_error(manager: Wire) -> None:
    answer = manager.post("channels/", b'{"name": "')
    assert answer.said == (400, {"detail": "JSON parse error - Unterminated string starting at: line 1 column 10 (char 9)"})


@pytest.mark.parametrize(("body", "kind"), [([], "list"), ("x", "str"), (5, "int")])
def test_ch_06_a_body_that_is_no_object_is_refused(manager: Wire, body: Any, kind: str) -> None:
    message = f"Invalid data. Expected a dictionary, but got {kind}."
    assert manager.post("channels/", body).said == (400, {"non_field_errors": [message]})


def test_ch_07_an_unknown_channel_is_not_found(manager: Wire) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        assert manager.ask(method, "channels/nowhere/", {}).said == (404, NOT_FOUND)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_ch_07_a_path_with_a_nul_names_no_channel(manager: Wire, method: str) -> None:
    assert manager.ask(method, "channels/lobby%00/").said == (404, NOT_FOUND)


def test_ch_07_wrong_methods_are_not_allowed(manager: Wire, lobby: Channel) -> None:
    detail = manager.post("channels/lobby/", {})
    assert detail.said == (405, {"detail": 'Method "POST" not allowed.'})
    assert detail.headers["Allow"] == "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
    listing = manager.put("channels/", {})
    assert listing.said == (405, {"detail": 'Method "PUT" not allowed.'})
    assert listing.headers["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_ch_08_a_patch_changes_what_it_names_and_never_name_or_type(manager: Wire, lobby: Channel) -> None:
    answer = manager.patch("channels/lobby/", {"name": "hall", "type": "bogus", "description": "new"})
    assert answer.status == 200
    body = answer.body
    assert (body["name"], body["type"], body["description"]) == ("lobby", "default", "new")
    assert (body["custom_publish"], body["other_permissions"]) == (True, "publish")
    assert body["updated_at"] > body["created_at"]


def test_ch_08_a_patch_with_a_bad_choice_changes_nothing(manager: Wire, lobby: Channel) -> None:
    answer = manager.patch("channels/lobby/", {"other_permissions": "x", "description": "new"})
    assert answer.said == (400, {"other_permissions": ['"x" is not a valid choice.']})
    assert manager.get("channels/lobby/").body["description"] == ""


def test_ch_09_a_put_resets_what_it_does_not_name_but_keeps_the_description(manager: Wire, lobby: Channel) -> None:
    manager.patch("channels/lobby/", {"description": "kept", "group_permissions": "publish"})
    body = manager.put("channels/lobby/", {}).body
    assert (body["custom_publish"], body["group_permissions"], body["other_permissions"]) == (False, "none", "none")
    assert body["description"] == "kept"


@pytest.mark.parametrize("field", ["description", "custom_publish", "other_permissions"])
def test_ch_09_null_is_no_value(manager: Wire, lobby: Channel, field: str) -> None:
    assert manager.patch("channels/lobby/", {field: None}).said == (400, {field: ["This field may not be null."]})


def test_ch_10_a_deleted_channel_is_gone(manager: Wire, lobby: Channel) -> None:
    assert manager.delete("channels/lobby/").said == (204, None)
    assert manager.get("channels/lobby/").said == (404, NOT_FOUND)
    assert manager.delete("channels/lobby/").said == (404, NOT_FOUND)


def test_ch_11_the_list_is_in_order_of_creation(manager: Wire, lobby: Channel) -> None:
    assert manager.names("channels/") == ["default", "eventlog", "lobby"]
    assert manager.names("channels/?ordering=desc") == ["lobby", "eventlog", "default"]


def test_ch_11_pages_link_to_each_other(manager: Wire, lobby: Channel) -> None:
    first = manager.get("channels/?page_size=2").body
    assert [each["name"] for each in first["objects"]] == ["default", "eventlog"]
    assert first["prev"] is None
    assert re.fullmatch(r"/v1\.1/instances/rivia/channels/\?page_size=2&direction=1&last_pk=\d+", first["next"])
    second = manager.at("").get(first["next"]).body
    assert [each["name"] for each in second["objects"]] == ["lobby"]
    assert second["next"] is None
    assert manager.at("").get(second["prev"]).body["objects"] == first["objects"]


def test_ch_11_a_prefix_selects(manager: Wire, lobby: Channel) -> None:
    assert manager.names("channels/?name__startswith=lo") == ["lobby"]
    assert manager.names("channels/?name__startswith=%00") == []


def test_ch_11_fields_can_be_chosen(manager: Wire, lobby: Channel) -> None:
    [channel] = manager.get("channels/?name__startswith=lobby&fields=name,type,nonsense").body["objects"]
    assert channel == {"name": "lobby", "type": "default"}
    [channel] = manager.get("channels/?name__startswith=lobby&excluded_fields=links,name").body["objects"]
    assert channel.keys().isdisjoint({"links", "name"})


@pytest.mark.parametrize("name", ["default", "eventlog"])
def test_ch_12_built_in_channels_can_be_changed_but_not_deleted(manager: Wire, name: str) -> None:
    assert manager.patch(f"channels/{name}/", {"other_permissions": "publish"}).status == 200
    assert manager.delete(f"channels/{name}/").said == (403, PERM)
    assert manager.get(f"channels/{name}/").status == 200


def test_ch_13_a_channel_made_again_starts_empty_at_id_1(manager: Wire, lobby: Channel) -> None:
    assert [manager.publish(n=n) for n in range(3)] == [1, 2, 3]
    manager.delete("channels/lobby/")
    manager.post("channels/", {"name": "lobby", "custom_publish": True})
    assert manager.ids("channels/lobby/history/") == []
    assert manager.publish(n=4) == 1


def test_of_many_who_make_the_same_channel_one_succeeds(manager: Wire) -> None:
    def create(_: int) -> tuple[int, Any]:
        try:
            return manager.post("channels/", {"name": "lobby"}).said
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(8)))
    assert sorted(status for status, _ in answers) == [201] + [400] * 7
    assert all(body == {"name": UNIQUE} for status, body in answers if status == 400)


def test_a_name_taken_between_the_look_and_the_write_is_refused_alike(
    manager: Wire, lobby: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NewChannelSerializer, "validate_name", lambda serializer, name: name)  # it was free when we looked
    assert manager.post("channels/", {"name": "lobby"}).said == (400, {"name": UNIQUE})


def test_perm_13_a_channel_with_a_group_links_to_it(manager: Wire, witchers: Group) -> None:
    body = manager.post("channels/", {"name": "kaer", "group": witchers.pk}).body
    assert body["links"]["group"] == f"/v1.1/instances/rivia/groups/{witchers.pk}/"
    assert "group" not in manager.patch("channels/kaer/", {"group": None}).body["links"]


def test_a_change_is_seen_at_once(manager: Wire, lobby: Channel) -> None:
    manager.publish(n=1)
    manager.patch("channels/lobby/", {"custom_publish": False})
    assert manager.post("channels/lobby/publish/", {}).status == 403


def test_a_save_cannot_bring_back_a_channel_that_was_deleted_meanwhile(
    manager: Wire, lobby: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = ChannelViewSet.get_object

    def deleted_after_the_look_up(view: ChannelViewSet) -> Channel:
        found = look_up(view)
        tenancy.delete_channel(Channel.objects.get(pk=found.pk))
        return found

    monkeypatch.setattr(ChannelViewSet, "get_object", deleted_after_the_look_up)
    assert manager.patch("channels/lobby/", {"description": "back?"}).said == (404, NOT_FOUND)
    assert not Channel.objects.filter(name="lobby").exists()
