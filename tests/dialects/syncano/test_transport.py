"""How the wire uses HTTP (wire/syncano.md §1, §13; cases MISC-01, MISC-02), and that no input is too odd for an answer."""

import json
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels_app.core import publishing
from channels_app.core.errors import StoreFull
from channels_app.models import Channel, Instance, InstanceUser

from .conftest import PERM, Wire

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Wire("/v1.1/")


def test_misc_01_a_burst_is_throttled_and_told_when_to_come_back(manager: Wire, rivia: Instance) -> None:
    rivia.request_rate = 2
    rivia.save()
    answers = [manager.get("channels/") for _ in range(8)]
    assert {answer.status for answer in answers} == {200, 429}
    refused = [answer for answer in answers if answer.status == 429]
    assert all(answer.headers["Retry-After"] == "1" for answer in refused)
    assert refused[0].body == {"detail": "Request was throttled. Expected available in 1 second."}


def test_misc_01_without_a_key_ten_requests_a_second_pass() -> None:
    answers = [ROOT.get() for _ in range(25)]
    assert {answer.status for answer in answers} == {200, 429}
    assert 10 <= sum(answer.status == 200 for answer in answers) <= 20  # the burst may touch two windows


def test_what_needs_a_key_is_refused_without_one_before_anything_is_counted(keyless: Wire) -> None:
    assert {keyless.get(path).status for path in ("channels/", "channels/lobby/history/") for _ in range(15)} == {403}


def test_misc_01_polls_are_counted_apart_from_other_requests(manager: Wire, lobby: Channel, rivia: Instance) -> None:
    rivia.request_rate = 0
    rivia.save()
    assert manager.get("channels/lobby/").status == 429
    assert manager.get("channels/lobby/poll/").status == 501


def test_misc_02_the_root_needs_no_key() -> None:
    answer = ROOT.get()
    assert answer.said == (200, {"links": {"instances": "/v1.1/instances/", "account": "/v1.1/account/"}})


@pytest.mark.parametrize("path", ["channels", "channels/lobby", "nowhere/", "channels/lobby/nowhere/"])
def test_a_path_without_a_route_is_not_found(manager: Wire, lobby: Channel, path: str) -> None:
    assert manager.get(path).status == 404


@pytest.mark.parametrize("path", ["", "channels/", "channels/lobby/", "channels/lobby/history/"])
def test_head_is_get_without_a_body(manager: Wire, lobby: Channel, path: str) -> None:
    answer = manager.ask("HEAD", path)
    assert (answer.status, answer.raw) == (200, b"")


@pytest.mark.parametrize("path", ["channels/", "channels/lobby/poll/", "channels/nowhere/publish/"])
def test_options_describes_the_view_to_everybody(keyless: Wire, path: str) -> None:
    answer = keyless.ask("OPTIONS", path)
    assert answer.status == 200
    assert answer.body.keys() == {"name", "description", "renders", "parses"}
    assert "OPTIONS" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "channels/", 200),
        ("GET", "channels/nowhere/", 404),
        ("POST", "channels/", 400),
        ("PUT", "channels/", 405),
        ("GET", "nowhere/", 404),
    ],
)
def test_every_answer_to_another_origin_may_be_read_there(manager: Wire, method: str, path: str, status: int) -> None:
    answer = manager.ask(method, path, {}, Origin="https://kaer.example")
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_every_answer_of_a_view_tells_its_length(manager: Wire, lobby: Channel, keyless: Wire) -> None:
    for answer in (manager.get("channels/"), manager.get("channels/lobby/history/"), keyless.get("channels/")):
        assert int(answer.headers["Content-Length"]) > 10


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense", ""])
def test_answers_are_json_whatever_is_accepted(manager: Wire, accept: str) -> None:
    answer = manager.get("channels/?format=html", Accept=accept)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_answers_are_utf_8_and_not_escaped(manager: Wire) -> None:
    assert "żur".encode() in manager.post("channels/", {"name": "lobby", "description": "żur"}).raw


def test_a_body_without_a_type_is_taken_for_json(manager: Wire, lobby: Channel) -> None:
    assert manager.post("channels/lobby/publish/", b'{"payload":{"a":1}}', type="").body["payload"] == {"a": 1}


def test_v1_is_the_same_under_its_own_links(manager: Wire, lobby: Channel) -> None:
    v1 = manager.at("/v1/instances/rivia/")
    published = v1.post("channels/lobby/publish/", {"payload": {"a": 1}}).body
    assert published["links"]["self"] == "/v1/instances/rivia/channels/lobby/history/1/"
    assert v1.get("channels/lobby/").body["links"]["poll"] == "/v1/instances/rivia/channels/lobby/poll/"
    assert v1.get("channels/?page_size=1").body["next"].startswith("/v1/instances/rivia/channels/?")
    assert Wire("/v1/").get().body["links"]["account"] == "/v1/account/"


def test_poll_is_no_place_to_write(manager: Wire, lobby: Channel) -> None:
    answer = manager.post("channels/lobby/poll/", {})
    assert answer.said == (405, {"detail": 'Method "POST" not allowed.'})
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_poll_without_an_asgi_server_says_what_it_needs(manager: Wire, lobby: Channel) -> None:
    answer = manager.get("channels/lobby/poll/")
    assert answer.said == (501, {"detail": "Live delivery needs an ASGI server: start it with manage.py serve."})


# When the store fails


def test_a_database_that_is_away_is_told_as_a_reason_to_come_back(manager: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("channels_app.core.directory._load_instance", away)
    answer = manager.at("/v1.1/instances/unremembered/").post("channels/", b"{broken")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"


def test_a_full_disk_is_told(manager: Wire, lobby: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise StoreFull

    monkeypatch.setattr(publishing, "publish", full)
    answer = manager.post("channels/lobby/publish/", {})
    assert (answer.status, answer.headers["Retry-After"]) == (507, "30")


# No input is too odd

PATHS = [
    "/v1.1/",
    "/v1.1/account/auth/",
    "/v1.1/account/register/",
    "/v1.1/instances/",
    "/v1.1/instances/rivia/",
    "/v1.1/instances/rivia/rename/",
    "/v1.1/instances/rivia/api_keys/",
    "/v1.1/instances/rivia/users/",
    "/v1.1/instances/rivia/user/auth/",
    "/v1.1/instances/rivia/groups/",
    "/v1.1/instances/rivia/channels/",
    "/v1.1/instances/rivia/channels/lobby/",
    "/v1.1/instances/rivia/channels/lobby/publish/",
    "/v1.1/instances/rivia/channels/rooms/publish/",
    "/v1.1/instances/rivia/channels/rooms/history/",
]
NAMES = [
    "name", "description", "type", "group", "group_permissions", "custom_publish", "metadata", "new_name", "username",
    "password", "profile", "email", "label", "payload", "room", "ignore_acl", "_api_key", "_user_key", "user",
]  # fmt: skip
odd_texts = st.text(max_size=20) | st.sampled_from(["\0", "\ud800", "9" * 400, "x" * 300, "NaN", "{", "[]", "-1"])
odd_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd_texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(odd_texts, children, max_size=3),
    max_leaves=6,
)
odd_bodies = st.binary(max_size=64) | st.dictionaries(st.sampled_from(NAMES), odd_values, max_size=6).map(
    lambda body: json.dumps(body).encode()
)
odd_queries = st.dictionaries(
    st.sampled_from(
        ["page_size", "last_pk", "direction", "last_id", "room", "ordering", "fields", "name__startswith", "api_key"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.integers().map(str),
    max_size=3,
)
types = st.sampled_from(
    [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "x/y",
        ";",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "OPTIONS"]),
    path=st.sampled_from(PATHS),
    query=odd_queries,
    body=odd_bodies,
    type=types,
)
def test_no_request_is_too_odd_for_an_answer(
    manager: Wire,
    lobby: Channel,
    rooms: Channel,
    ciri: InstanceUser,
    method: str,
    path: str,
    query: dict[str, str],
    body: bytes,
    type: str,
) -> None:
    response = Client(headers=manager.headers).generic(method, path, body, content_type=type, query_params=query)
    assert response.status_code < 500
    if response.content:
        assert isinstance(json.loads(response.content), dict)


def test_a_stranger_learns_nothing(keyless: Wire) -> None:
    for path in PATHS[4:]:
        answer = keyless.at("").get(path)
        assert answer.said == (403, PERM)
