"""History (wire/syncano.md §9; cases HIS-01..17)."""

from typing import Any

import pytest

from channels_app.core import log, tenancy
from channels_app.models import Channel, Instance

from .conftest import NO_CHANNEL, NO_INSTANCE, NOT_FOUND, PERM, ROOM, Wire

pytestmark = pytest.mark.django_db(transaction=True)

LOBBY, ROOMS = "channels/lobby/history/", "channels/rooms/history/"
PAGE_ERROR = (400, {"detail": "Incorrect page parameter provided."})


@pytest.fixture
def five(manager: Wire, lobby: Channel) -> None:
    for number in range(1, 6):
        manager.publish(n=number)


@pytest.fixture
def two_rooms(manager: Wire, rooms: Channel) -> None:
    """Odd ids in `mine`, even ones in `yours`."""
    for number in range(1, 7):
        manager.publish_to("mine" if number % 2 else "yours")


def walk(wire: Wire, path: str) -> list[list[int]]:
    """The ids of every page, following `next`."""
    pages = []
    page = wire.get(path).body
    pages.append([each["id"] for each in page["objects"]])
    while page["next"]:
        assert page["next"].startswith("/v1.1/instances/rivia/channels/")
        page = wire.at("").get(page["next"]).body
        pages.append([each["id"] for each in page["objects"]])
    return pages


def test_his_01_the_newest_comes_first(manager: Wire, five: None) -> None:
    answer = manager.get(LOBBY)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert [each["id"] for each in answer.body["objects"]] == [5, 4, 3, 2, 1]
    assert (answer.body["next"], answer.body["prev"]) == (None, None)


def test_his_02_a_message_is_what_publish_answered(manager: Wire, lobby: Channel) -> None:
    published = manager.post("channels/lobby/publish/", {"payload": {"t": "żur", "n": 1.50}})
    answer = manager.get(f"{LOBBY}1/")
    assert (answer.status, answer.raw) == (200, published.raw)
    assert manager.get(LOBBY).body["objects"] == [published.body]


def test_his_03_a_message_of_a_default_channel_has_a_null_room(manager: Wire, five: None) -> None:
    assert [each["room"] for each in manager.get(LOBBY).body["objects"]] == [None] * 5


def test_his_04_pages_walk_all_messages_once(manager: Wire, five: None) -> None:
    assert walk(manager, f"{LOBBY}?page_size=3") == [[5, 4, 3], [2, 1]]
    assert walk(manager, f"{LOBBY}?page_size=2&ordering=asc") == [[1, 2], [3, 4], [5]]


def test_his_04_links_are_paths_and_lead_back(manager: Wire, five: None) -> None:
    first = manager.get(f"{LOBBY}?page_size=2").body
    assert first["next"] == "/v1.1/instances/rivia/channels/lobby/history/?page_size=2&direction=1&last_pk=4"
    second = manager.at("").get(first["next"]).body
    assert second["prev"] == "/v1.1/instances/rivia/channels/lobby/history/?page_size=2&direction=0&last_pk=3"
    back = manager.at("").get(second["prev"]).body
    assert back["objects"] == first["objects"]
    assert back["next"] == first["next"]


@pytest.mark.parametrize(
    ("ordering", "ids"), [("asc", [1, 2, 3, 4, 5]), ("ASC", [1, 2, 3, 4, 5]), ("desc", [5, 4, 3, 2, 1]), ("x", [5, 4, 3, 2, 1])]
)
def test_his_05_ordering_is_asc_or_newest_first(manager: Wire, five: None, ordering: str, ids: list[int]) -> None:
    assert manager.ids(f"{LOBBY}?ordering={ordering}") == ids


def test_his_05_a_bogus_ordering_is_echoed_in_links(manager: Wire, five: None) -> None:
    assert "ordering=bogus" in manager.get(f"{LOBBY}?ordering=bogus&page_size=1").body["next"]


@pytest.mark.parametrize(
    ("last_id", "ids"),
    [("3", [5, 4]), ("5", []), ("1000000000", []), ("9" * 40, []), ("abc", [5, 4, 3, 2, 1]), ("-7", [5, 4, 3, 2, 1])],
)
def test_his_06_last_id_asks_for_newer_ones(manager: Wire, five: None, last_id: str, ids: list[int]) -> None:
    assert manager.ids(f"{LOBBY}?last_id={last_id}") == ids


def test_his_06_pages_keep_last_id(manager: Wire, five: None) -> None:
    assert walk(manager, f"{LOBBY}?last_id=2&page_size=2") == [[5, 4], [3]]
    assert walk(manager, f"{LOBBY}?last_id=2&page_size=2&ordering=asc") == [[3, 4], [5]]


@pytest.mark.parametrize("size", ["-1", "abc", "", "1.5", "9" * 5000 + "x", "%00"])
def test_his_07_a_wrong_page_size_is_refused(manager: Wire, lobby: Channel, size: str) -> None:
    assert manager.get(f"{LOBBY}?page_size={size}").said == PAGE_ERROR


def test_his_07_page_size_0_is_an_empty_page(manager: Wire, five: None) -> None:
    assert manager.get(f"{LOBBY}?page_size=0").body == {"next": None, "prev": None, "objects": []}


@pytest.mark.parametrize("size", ["1000", "9" * 5000])
def test_his_07_a_page_has_at_most_100(manager: Wire, lobby: Channel, size: str) -> None:
    for number in range(101):
        manager.publish(n=number)
    assert manager.ids(f"{LOBBY}?page_size={size}") == list(range(101, 1, -1))


@pytest.mark.parametrize("query", ["direction=2", "direction=x", "direction=-1", "last_pk=x", "last_pk="])
def test_his_08_a_wrong_direction_or_key_is_refused(manager: Wire, lobby: Channel, query: str) -> None:
    assert manager.get(f"{LOBBY}?{query}").said == PAGE_ERROR


def test_his_09_after_the_oldest_there_is_an_empty_page_and_the_end(manager: Wire, five: None) -> None:
    page = manager.get(f"{LOBBY}?page_size=2&last_pk=1&direction=1").body
    assert (page["objects"], page["next"]) == ([], None)
    assert page["prev"] == "/v1.1/instances/rivia/channels/lobby/history/?page_size=2&direction=0"
    last = manager.at("").get(page["prev"]).body
    assert [each["id"] for each in last["objects"]] == [2, 1]


def test_his_09_an_exactly_full_last_page_links_to_one_empty_page(manager: Wire, five: None) -> None:
    assert walk(manager, f"{LOBBY}?page_size=5") == [[5, 4, 3, 2, 1], []]


def test_his_10_fields_can_be_chosen(manager: Wire, five: None) -> None:
    assert manager.get(f"{LOBBY}?page_size=1&fields=id,payload").body["objects"] == [{"id": 5, "payload": {"n": 5}}]
    [message] = manager.get(f"{LOBBY}?page_size=1&excluded_fields=author,links,%20metadata").body["objects"]
    assert list(message) == ["id", "room", "created_at", "action", "payload"]


@pytest.mark.parametrize("message_id", ["6", "0", "-1", "abc", "9" * 30, "1e0", "%00"])
def test_his_11_an_unknown_message_is_not_found(manager: Wire, five: None, message_id: str) -> None:
    assert manager.get(f"{LOBBY}{message_id}/").said == (404, NOT_FOUND)


@pytest.mark.parametrize("path", ["channels/nowhere/history/", "channels/nowhere/history/1/"])
def test_his_11_the_history_of_an_unknown_channel_says_so(manager: Wire, path: str) -> None:
    assert manager.get(path).said == (404, NO_CHANNEL)
    assert manager.at("/v1.1/instances/nowhere/").get(path).said == (404, NO_INSTANCE)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [LOBBY, f"{LOBBY}1/"])
def test_his_11_history_cannot_be_changed(manager: Wire, five: None, method: str, path: str) -> None:
    answer = manager.ask(method, path)
    assert answer.said == (405, {"detail": f'Method "{method}" not allowed.'})
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_his_12_a_message_is_found_through_its_own_channel_only(manager: Wire, five: None, rooms: Channel) -> None:
    assert manager.get(f"{ROOMS}3/").said == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("room", "ids"),
    [
        ("mine", [5, 3, 1]),
        ("MINE", [5, 3, 1]),
        ("%20yours%20", [6, 4, 2]),
        ("nobody", []),
        ("", []),
        ("x" * 300, []),
        ("%00", []),
    ],
)
def test_his_13_a_room_has_its_own_messages(manager: Wire, two_rooms: None, room: str, ids: list[int]) -> None:
    assert manager.ids(f"{ROOMS}?room={room}") == ids


def test_his_13_a_default_channel_ignores_the_room(manager: Wire, five: None) -> None:
    assert manager.ids(f"{LOBBY}?room=kitchen") == [5, 4, 3, 2, 1]


def test_his_14_a_manager_without_a_room_reads_all_rooms(manager: Wire, ignore_acl: Wire, two_rooms: None) -> None:
    for wire in (manager, ignore_acl):
        assert wire.ids(ROOMS) == [6, 5, 4, 3, 2, 1]
    assert {each["room"] for each in manager.get(ROOMS).body["objects"]} == {"mine", "yours"}


def test_his_15_the_link_of_a_message_needs_no_room(user: Wire, two_rooms: None) -> None:
    [message] = user.get(f"{ROOMS}?room=mine&page_size=1").body["objects"]
    assert user.at("").get(message["links"]["self"]).said == (200, message)


def test_his_16_pages_keep_the_room(user: Wire, two_rooms: None) -> None:
    assert walk(user, f"{ROOMS}?room=Mine&page_size=2") == [[5, 3], [1]]


def test_his_17_a_user_must_name_a_room(user: Wire, anonymous_read: Wire, two_rooms: None) -> None:
    for wire in (user, anonymous_read):
        assert wire.get(ROOMS).said == (400, ROOM)


def test_history_is_refused_to_whom_may_not_read(user: Wire, keyless: Wire, rivia: Instance) -> None:
    tenancy.create_channel(rivia, name="secret")
    for wire in (user, keyless):
        assert wire.get("channels/secret/history/").said == (403, PERM)
        assert wire.get("channels/secret/history/1/").said == (403, PERM)


def test_duplicated_parameters_do_no_harm(manager: Wire, five: None) -> None:
    assert manager.ids(f"{LOBBY}?page_size=2&ordering=asc&page_size=2&ordering=asc") == [1, 2]


@pytest.mark.parametrize("query", ["%ff=%fe&room=%80", "&&==&", "page_size=1&" + "a&" * 500, "fields=%00", "last_id=%00"])
def test_odd_queries_are_answered(manager: Wire, five: None, query: str) -> None:
    assert manager.get(f"{LOBBY}?{query}").status == 200


def test_more_parameters_than_anybody_needs_are_refused(manager: Wire, lobby: Channel) -> None:
    assert manager.get(f"{LOBBY}?{'a&' * 2000}").status == 400


def test_what_is_trimmed_is_not_found_any_more(manager: Wire, five: None, lobby: Any) -> None:
    log.trim(lobby.pk, older_than=None, keep=2, limit=100)
    assert manager.ids(LOBBY) == [5, 4]
    assert manager.get(f"{LOBBY}3/").said == (404, NOT_FOUND)
