"""Who may come in, by which key, from which place (wire/syncano.md §3; cases AUTH-01..11)."""

import pytest

from channels_app.core import tenancy
from channels_app.core.credentials import Credentials
from channels_app.dialects.syncano import auth
from channels_app.dialects.syncano.auth import credentials, header_credentials

from .conftest import NO_INSTANCE, NOKEY, PERM, Wire, client

pytestmark = pytest.mark.django_db(transaction=True)

KEY, OTHER, USER = "a" * 39 + "1", "b" * 39 + "1", "c" * 40


def test_auth_01_without_a_key_nothing_is_permitted(keyless: Wire) -> None:
    assert keyless.get("channels/").said == (403, PERM)


@pytest.mark.parametrize("key", ["a" * 39 + "1", "a" * 39 + "2"], ids=["api-key", "account-key"])
def test_auth_02_an_unknown_key_is_told_so(rivia: object, key: str) -> None:
    assert client(key).get("channels/").said == (403, NOKEY)


@pytest.mark.parametrize("key", ["x", "12345", "g" * 40, "a" * 41, "ключ".encode().decode("latin-1")])
def test_auth_03_a_malformed_key_is_unknown(rivia: object, key: str) -> None:
    assert client(key).get("channels/").said == (403, NOKEY)


@pytest.mark.parametrize("name", ["api_key", "apikey"])
def test_auth_04_a_key_in_the_query_is_found(manager: Wire, name: str) -> None:
    key = manager.headers["X-API-KEY"]
    assert client().get(f"channels/?{name}={key}").status == 200


@pytest.mark.parametrize("scheme", ["token", "Bearer", "anything"])
def test_auth_05_a_key_after_any_scheme_is_found(manager: Wire, scheme: str) -> None:
    key = manager.headers["X-API-KEY"]
    assert client().get("channels/", Authorization=f"{scheme} {key}").status == 200


def test_auth_06_a_bare_authorization_is_no_key(manager: Wire) -> None:
    key = manager.headers["X-API-KEY"]
    assert client().get("channels/", Authorization=key).said == (403, PERM)


@pytest.mark.parametrize("name", ["nowhere", "a", "x" * 300, "%00", "riv ia", "рівія", "rivia%0a"])
def test_auth_07_an_unknown_instance_is_not_found(manager: Wire, name: str) -> None:
    assert manager.at(f"/v1.1/instances/{name}/").get("channels/").said == (404, NO_INSTANCE)


def test_auth_08_a_key_of_another_instance_is_unknown_here(keyless: Wire, other_instance: object) -> None:
    elsewhere = tenancy.create_api_key(other_instance, ignore_acl=True)[1].text
    assert client(elsewhere).get("channels/").said == (403, NOKEY)


def test_auth_08_an_administrator_of_another_instance_does_not_learn_that_this_one_exists(
    manager: Wire, other_instance: object
) -> None:
    assert manager.at("/v1.1/instances/vengerberg/").get("channels/").said == (404, NO_INSTANCE)
    assert manager.at("/v1.1/instances/nowhere/").get("channels/").said == (404, NO_INSTANCE)


def test_auth_09_instance_names_have_no_case(manager: Wire) -> None:
    assert manager.at("/v1.1/instances/RIVIA/").get("channels/").status == 200


def test_auth_10_a_preflight_allows_both_key_headers(keyless: Wire) -> None:
    answer = keyless.ask(
        "OPTIONS",
        "channels/",
        Origin="https://kaer.example",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="x-api-key,x-user-key",
    )
    allowed = {name.strip() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    assert {"x-api-key", "x-user-key", "authorization", "content-type"} <= allowed
    methods = answer.headers["Access-Control-Allow-Methods"]
    assert all(method in methods for method in ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT"))


@pytest.mark.parametrize("body", [b"{}", b"{broken", b"\xff\x00"])
def test_auth_11_the_body_of_a_get_is_unread(manager: Wire, body: bytes) -> None:
    assert manager.get("channels/", body).status == 200


def test_a_key_in_the_body_is_found(manager: Wire, lobby: object) -> None:
    body = {"payload": {"n": 1}, "_api_key": manager.headers["X-API-KEY"]}
    assert client().post("channels/lobby/publish/", body).status == 201


def test_a_user_key_in_the_body_is_found(plain: Wire, user: Wire, lobby: object) -> None:
    body = {"_api_key": plain.headers["X-API-KEY"], "_user_key": user.headers["X-USER-KEY"]}
    assert client().post("channels/lobby/publish/", body).body["author"].keys() == {"api_key", "user"}


def test_keys_have_no_case(manager: Wire) -> None:
    assert client(manager.headers["X-API-KEY"].upper()).get("channels/").status == 200


def test_a_revoked_key_is_refused(manager: Wire, ignore_acl: Wire) -> None:
    assert ignore_acl.get("channels/").status == 200
    [key] = ignore_acl.get("api_keys/").body["objects"]
    assert manager.delete(f"api_keys/{key['id']}/").status == 204
    assert ignore_acl.get("channels/").said == (403, NOKEY)


@pytest.mark.parametrize(
    ("headers", "query", "body"),
    [
        ({"x-api-key": KEY}, {"api_key": OTHER}, None),
        ({}, {"api_key": KEY, "apikey": OTHER}, None),
        ({"authorization": f"token {OTHER}"}, {"apikey": KEY}, None),
        ({"authorization": f"token {KEY}"}, {}, {"_api_key": OTHER}),
        ({"x-api-key": ""}, {"api_key": ""}, {"_api_key": KEY}),
    ],
    ids=["header-first", "api_key-before-apikey", "query-before-authorization", "authorization-before-body", "empty-is-absent"],
)
def test_the_first_place_that_has_a_key_wins(headers: dict[str, str], query: dict[str, str], body: object) -> None:
    assert credentials(headers, query, body) == Credentials.of(KEY)


@pytest.mark.parametrize(
    ("headers", "query", "body"),
    [
        ({"x-user-key": USER}, {"user_key": OTHER}, None),
        ({}, {"user_key": USER, "userkey": OTHER}, None),
        ({}, {"userkey": USER}, {"_user_key": OTHER}),
        ({}, {}, {"_user_key": USER}),
    ],
)
def test_a_user_key_is_looked_for_in_the_same_places(headers: dict[str, str], query: dict[str, str], body: object) -> None:
    assert credentials(headers | {"x-api-key": KEY}, query, body) == Credentials.of(KEY, USER)


@pytest.mark.parametrize("body", [None, [], "text", 5, {"_api_key": 5}, {"_api_key": None}, {"_api_key": ["a"]}])
def test_a_body_without_a_key_brings_none(body: object) -> None:
    assert credentials({}, {}, body) == Credentials()


HEADERS = [
    {},
    {"x-api-key": KEY},
    {"x-api-key": OTHER},
    {"x-api-key": KEY, "x-user-key": USER},
    {"x-api-key": KEY + USER},
    {"x-user-key": KEY},
    {"authorization": f"token {KEY}"},
    {"authorization": KEY},
    {"x-api-key": "ключ"},
]


def test_keys_in_headers_are_the_same_when_they_come_again() -> None:
    for _ in range(2):
        assert [header_credentials(headers) for headers in HEADERS] == [credentials(headers, {}) for headers in HEADERS]


def test_what_is_remembered_of_keys_is_bounded_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_remembered", {})
    monkeypatch.setattr(auth, "MAX_REMEMBERED", 2)
    for headers in HEADERS:
        header_credentials(headers)
        assert len(auth._remembered) <= 2
        assert KEY not in repr(auth._remembered)
