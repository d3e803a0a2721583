"""Tenants are walls (DESIGN.md §3, law 8): on every route, whatever is asked with another instance's credentials gets the
same answer for a thing that exists and for one that does not."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import websockets.sync.client
from websockets.exceptions import InvalidStatus

from .deployment import Server, Template, channel_path
from .routes import METHODS, Route, routes

QUIET = {"PUBSUB_ANONYMOUS_RATE": "", "PUBSUB_FAILED_POLL_RATE": "", "PUBSUB_POLL_WAIT": "0.1"}
INSIDE = [route for route in routes() if "instance" in route.parameters]
WITH_IDS = [route for route in INSIDE if {"key", "user", "group"} & set(route.parameters)]
NOWHERE = {"channel": "nowhere", "message": "999999", "group": "999999", "user": "999999", "key": "999999"}
BODY = {"name": "intruder", "new_name": "intruders-own", "username": "intruder", "password": "x", "payload": {"a": 1}}


@dataclass
class Tenant:
    """An administrator's instance with one of everything in it, and every kind of credentials for it."""

    instance: str
    things: dict[str, str]
    credentials: dict[str, dict[str, str]]


def furnish(client: httpx.Client, account_key: str, instance: str) -> Tenant:
    client.headers["X-API-KEY"] = account_key
    base = f"/v1.1/instances/{instance}/"

    def make(path: str, **body: object) -> dict:
        return client.post(f"{base}{path}", json=body).raise_for_status().json()

    client.post("/v1.1/instances/", json={"name": instance}).raise_for_status()
    key, plain = make("api_keys/", ignore_acl=True), make("api_keys/", allow_anonymous_read=True)
    user, group = make("users/", username="geralt", password="silver-sword"), make("groups/", label="witchers")
    make(f"groups/{group['id']}/users/", user=user["id"])
    make("channels/", name="lobby", custom_publish=True, other_permissions="publish")
    message = make("channels/lobby/publish/", payload={"secret": 1})
    things = {"channel": "lobby", "key": key["id"], "user": user["id"], "group": group["id"], "message": message["id"]}
    credentials = {
        "account key": {"X-API-KEY": account_key},
        "API key with ignore_acl": {"X-API-KEY": key["api_key"]},
        "API key that reads anonymously": {"X-API-KEY": plain["api_key"]},
        "API key and user key": {"X-API-KEY": plain["api_key"], "X-USER-KEY": user["user_key"]},
    }
    return Tenant(instance, {name: str(thing) for name, thing in things.items()}, credentials)


@pytest.fixture(scope="module")
def server(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = template.deploy(tmp_path_factory.mktemp("isolation")).start(**QUIET)
    yield server
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def ours(client: httpx.Client, template: Template) -> Tenant:
    return furnish(client, template.credentials["account_key"], "our-instance")


@pytest.fixture(scope="module")
def theirs(client: httpx.Client) -> Tenant:
    account = client.post("/v1.1/account/register/", json={"email": "other@example.com", "password": "a-Long-one-7"})
    return furnish(client, account.raise_for_status().json()["account_key"], "their-instance")


def seen(client: httpx.Client, method: str, route: Route, names: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
    """What one may learn from the answer, with the asked name itself taken out of it."""
    body = BODY if method in ("post", "put", "patch") else None
    answer = client.request(method, route.filled(names), json=body, headers=headers)
    return answer.status_code, answer.text.replace(names["instance"], "<instance>")


@pytest.fixture(params=range(4), ids=["account-key", "ignore-acl", "anonymous-read", "user-key"])
def headers(request: pytest.FixtureRequest, client: httpx.Client, ours: Tenant) -> dict[str, str]:
    """Our credentials, and no others."""
    client.headers.pop("X-API-KEY", None)
    return list(ours.credentials.values())[request.param]


@pytest.mark.parametrize("route", INSIDE, ids=lambda route: route.path.split("{instance}")[1])
def test_what_is_theirs_looks_like_what_does_not_exist(
    client: httpx.Client, theirs: Tenant, headers: dict[str, str], route: Route
) -> None:
    for method in METHODS:
        existing = seen(client, method, route, {**theirs.things, "instance": theirs.instance}, headers)
        assert existing[0] in (403, 404, 405)
        assert existing == seen(client, method, route, {**NOWHERE, "instance": theirs.instance}, headers)


@pytest.mark.parametrize("route", INSIDE, ids=lambda route: route.path.split("{instance}")[1])
def test_their_instance_looks_like_none_to_another_administrator(
    client: httpx.Client, ours: Tenant, theirs: Tenant, route: Route
) -> None:
    """To an API key it does not: the wire has 403 for another instance, 404 for none (AUTH-07, AUTH-08)."""
    client.headers.pop("X-API-KEY", None)
    for method in METHODS:
        there, nowhere = (
            seen(client, method, route, {**theirs.things, "instance": name}, ours.credentials["account key"])
            for name in (theirs.instance, "no-such-instance")
        )
        assert there == nowhere


@pytest.mark.parametrize("route", WITH_IDS, ids=lambda route: route.path)
def test_their_things_are_not_found_in_our_instance(client: httpx.Client, ours: Tenant, theirs: Tenant, route: Route) -> None:
    client.headers.pop("X-API-KEY", None)
    for headers in ours.credentials.values():
        for method in METHODS:
            existing = seen(client, method, route, {**theirs.things, "instance": ours.instance}, headers)
            assert existing[0] in (400, 403, 404, 405)
            assert existing == seen(client, method, route, {**NOWHERE, "instance": ours.instance}, headers)


def test_their_ids_in_a_body_are_unknown(client: httpx.Client, ours: Tenant, theirs: Tenant) -> None:
    base = f"/v1.1/instances/{ours.instance}/"
    headers = ours.credentials["account key"]
    posts = {
        f"{base}channels/": ("group", {"name": "borrowed"}),
        f"{base}groups/{ours.things['group']}/users/": ("user", {}),
        f"{base}users/{ours.things['user']}/groups/": ("group", {}),
    }
    for path, (field, body) in posts.items():
        answers = [
            client.post(path, json={**body, field: int(each)}, headers=headers)
            for each in (theirs.things[field], NOWHERE[field])
        ]
        assert [answer.status_code for answer in answers] == [400, 400]
        existing, missing = (answer.json()[field][0] for answer in answers)
        assert existing.replace(theirs.things[field], "") == missing.replace(NOWHERE[field], "")


def test_lists_hold_only_ones_own(client: httpx.Client, ours: Tenant, theirs: Tenant) -> None:
    client.headers.pop("X-API-KEY", None)
    for name, headers in ours.credentials.items():
        listed = client.get("/v1.1/instances/", headers=headers).raise_for_status().json()["objects"]
        assert theirs.instance not in {instance["name"] for instance in listed}, name
        assert ours.instance in {instance["name"] for instance in listed}, name


def test_a_user_key_of_theirs_counts_as_none(client: httpx.Client, ours: Tenant, theirs: Tenant) -> None:
    plain = ours.credentials["API key that reads anonymously"]
    borrowed = plain | {"X-USER-KEY": theirs.credentials["API key and user key"]["X-USER-KEY"]}
    path = f"{channel_path(ours.instance, 'lobby')}publish/"
    assert client.post(path, json={}, headers=borrowed).status_code == 403
    assert client.post(path, json={}, headers=ours.credentials["API key and user key"]).status_code == 201


@pytest.mark.parametrize("channel", ["lobby", "nowhere"])
def test_no_socket_opens_on_their_channels(server: Server, theirs: Tenant, headers: dict[str, str], channel: str) -> None:
    url = f"{server.url.replace('http', 'ws', 1)}{channel_path(theirs.instance, channel)}poll/?transport=websocket"
    with pytest.raises(InvalidStatus) as caught:
        websockets.sync.client.connect(url, additional_headers=headers)
    response = caught.value.response
    is_account = headers["X-API-KEY"][-1] in "02468ace"
    assert response.status_code == (404 if is_account else 403)
    detail = "Instance was not found." if is_account else "No such API Key."
    assert json.loads(response.body) == {"detail": detail}


def test_nothing_of_theirs_was_touched(client: httpx.Client, theirs: Tenant) -> None:
    base = f"/v1.1/instances/{theirs.instance}/"
    headers = theirs.credentials["account key"]
    for path in (
        "",
        "channels/lobby/",
        "channels/lobby/history/1/",
        *(f"{kind}s/{theirs.things[kind]}/" for kind in ("user", "group")),
    ):
        assert client.get(base + path, headers=headers).status_code == 200
    assert len(client.get(f"{base}channels/lobby/history/", headers=headers).json()["objects"]) == 1
