"""Publishing has several fronts (`fronts`): whatever is sent, all answer the same, byte for byte."""

import asyncio
import json
import re

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import OperationalError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels_app.core import publishing, tenancy, throttling
from channels_app.core.errors import StoreFull, StoreUnavailable
from channels_app.dialects.syncano import express
from channels_app.models import Instance

from .fronts import SHORT, Fronts

# What two publishes of the same cannot have in common.
DIFFERS = re.compile(rb'"id":\d+|history/\d+/|"created_at":"[^"]+"')


@pytest.fixture
def instance(transactional_db) -> Instance:
    owner = get_user_model().objects.create_user("geralt", "geralt@rivia.example", "a-good-password")
    instance = tenancy.create_instance(owner=owner, name="rivia")
    tenancy.create_channel(instance, name="lobby", custom_publish=True)
    tenancy.create_channel(instance, name="halls", custom_publish=True, type="separate_rooms")
    tenancy.create_channel(instance, name="closed")
    return instance


@pytest.fixture
def key(instance) -> str:
    return tenancy.create_api_key(instance, ignore_acl=True)[1].text


@pytest.fixture
def fronts(monkeypatch) -> Fronts:
    return Fronts(monkeypatch, "/v1.1/instances/rivia/channels/lobby/publish/", DIFFERS)


def json_body(value) -> dict:
    return {"content": json.dumps(value).encode(), "headers": {"Content-Type": "application/json"}}


GOOD = [
    {"payload": {"message": "Hello Witchers!", "type": "welcome"}},
    {"payload": '{"as": "a string"}'},
    {"payload": {"n": 12345678901234567890123, "f": 1.0, "deep": [[{"x": None}]], "emoji": "🐺", "nul": "\0"}},
    {"payload": {}, "room": "Kitchen "},
    {"payload": {}, "room": 5, "extra": 1},
    {},
]
BAD = [
    {"payload": [1]},
    {"payload": None},
    {"payload": "abc"},
    {"payload": {}, "room": ""},
    {"payload": {}, "room": True},
    {"payload": {}, "room": "x" * 129},
    {"payload": {}, "room": "a\0b"},
    {"payload": "[1]", "room": {}},
    [],
    "text",
    None,
    5,
]


@pytest.mark.parametrize("channel", ["lobby", "LOBBY", "halls", "closed", "nowhere"])
@pytest.mark.parametrize("body", GOOD + BAD, ids=lambda body: str(body)[:40])
async def test_every_body_to_every_channel(fronts, key, channel, body):
    await fronts.all(f"/v1.1/instances/rivia/channels/{channel}/publish/", params={"api_key": key}, **json_body(body))


@pytest.mark.parametrize("body", GOOD[:3] + GOOD[5:], ids=lambda body: str(body)[:40])
async def test_what_is_good_takes_the_express_lane(fronts, key, body):
    answer = await fronts.all(params={"api_key": key}, **json_body(body))
    assert (answer.status_code, fronts.express, fronts.short) == (201, 3, SHORT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"payload": NaN}',
        b'{"payload": {"n": 1e999}}',
        b'{"payload": {"s": "\\ud800"}}',
        b'{"payload": "{\\"s\\": \\"\\\\ud800\\"}"}',
        b'{"payload": {"a": 1, "a": 2}}',
        b'{"payload": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"payload": {"n": ' + b"9" * 5000 + b"}}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"payload": {"s": "' + b"x" * 65_515 + b'"}}',
        b'{"payload": {"s": "' + b"x" * 65_516 + b'"}}',
    ],
    ids=lambda content: repr(content[:30]),
)
async def test_hostile_bodies(fronts, key, content):
    await fronts.all(params={"api_key": key}, content=content, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json; charset=UTF-8"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json", "Origin": "https://example.com"},
        {"Content-Type": "application/json", "Idempotency-Key": "k" * 256},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "X-HTTP-Method-Override": "GET"},
    ],
    ids=str,
)
async def test_headers_and_types(fronts, key, headers):
    await fronts.all(params={"api_key": key}, content=b'{"payload": {"a": 1}}', headers=headers)


@pytest.mark.parametrize(
    "content", [b'{"payload":{"a":1}}', b' {"payload":{"q":"a=b&c"}}', b"%7B%22payload%22%3A%7B%7D%7D"], ids=repr
)
async def test_json_that_is_called_a_form_is_refused_and_told_what_to_do(fronts, key, content):
    form = {"Content-Type": "application/x-www-form-urlencoded", "X-API-KEY": key}
    answer = await fronts.all(content=content, headers=form)
    assert answer.status_code == 400
    assert answer.json() == {"detail": "This looks like JSON: send it with Content-Type: application/json."}


@pytest.mark.parametrize("content", [b"payload=%7B%22a%22%3A1%7D", b"", b"other={"], ids=repr)
async def test_a_form_is_a_form(fronts, key, content):
    form = {"Content-Type": "application/x-www-form-urlencoded", "X-API-KEY": key}
    assert (await fronts.all(content=content, headers=form)).status_code == 201


@pytest.mark.parametrize("placed", ["header", "query", "token", "bearer", "body", "bare", "nowhere", "unknown", "malformed"])
async def test_keys_in_all_places(fronts, key, placed):
    headers, query, body = {"Content-Type": "application/json"}, {}, {"payload": {"a": 1}}
    match placed:
        case "header":
            headers["X-API-KEY"] = key
        case "query":
            query["apikey"] = key
        case "token" | "bearer":
            headers["Authorization"] = f"{placed} {key}"
        case "bare":
            headers["Authorization"] = key
        case "body":
            body["_api_key"] = key
        case "unknown":
            headers["X-API-KEY"] = "0" * 39 + "1"
        case "malformed":
            headers["X-API-KEY"] = "x"
    answer = await fronts.all(params=query, content=json.dumps(body), headers=headers)
    assert (answer.status_code == 201) is (placed in ("header", "query", "token", "bearer", "body"))


async def test_an_idempotency_key(fronts, key):
    request = {"params": {"api_key": key}, "content": b'{"payload": {"a": 1}}'}
    headers = {"Content-Type": "application/json", "X-API-KEY": key}
    first = await fronts.view(headers={**headers, "Idempotency-Key": "k"}, **request)
    again = await fronts.all(headers={**headers, "Idempotency-Key": "k"}, **request)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), "duplicate": True}
    clash = await fronts.all(headers={**headers, "Idempotency-Key": "k"}, content=b'{"payload": {"a": 2}}')
    assert clash.status_code == 409


async def test_a_limit_of_the_instance(fronts, key, instance):
    instance.request_rate = 0
    await sync_to_async(instance.save)()
    answer = await fronts.all(params={"api_key": key}, **json_body(GOOD[0]))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


async def test_a_limit_that_cannot_be_looked_at_in_time(fronts, key, instance, monkeypatch):
    def look(instance, poll=False):
        raise OperationalError("The database did not answer in time.")

    instance.request_rate = 100
    await sync_to_async(instance.save)()
    monkeypatch.setattr(throttling, "check_instance", look)
    answer = await fronts.all(params={"api_key": key}, **json_body(GOOD[0]))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("error", [StoreUnavailable(), StoreFull()], ids=lambda error: error.code)
async def test_a_log_that_does_not_take_it(fronts, key, monkeypatch, error):
    monkeypatch.setattr(publishing.log, "append", lambda entries: [error] * len(entries))
    answer = await fronts.all(params={"api_key": key}, **json_body(GOOD[0]))
    assert answer.json() == {"detail": error.message}


async def test_a_revoked_key_is_refused_on_all_at_once(fronts, key, instance):
    assert (await fronts.all(params={"api_key": key}, **json_body(GOOD[0]))).status_code == 201
    await sync_to_async(tenancy.revoke_api_key)(await instance.api_keys.afirst())
    assert (await fronts.all(params={"api_key": key}, **json_body(GOOD[0]))).status_code == 403


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
bodies = st.binary(max_size=60) | st.builds(
    lambda value: json.dumps(value).encode(),
    st.fixed_dictionaries({}, optional={"payload": values | st.text(), "room": values, "_api_key": st.text()}) | values,
)


def test_anything_at_all(fronts, key):
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=bodies, channel=st.sampled_from(["lobby", "halls"]))
    def send(body, channel):
        path = f"/v1.1/instances/rivia/channels/{channel}/publish/"
        headers = {"Content-Type": "application/json", "X-API-KEY": key}
        answer = asyncio.run(fronts.all(path, content=body, headers=headers))
        assert answer.status_code in (201, 400, 413)

    send()


async def test_only_paths_that_can_be_a_publish_are_remembered(fronts, key):
    remembered = express._place.cache_info().currsize
    await fronts.all(f"/v1.1/instances/{'x' * 5_000}/channels/lobby/publish/", params={"api_key": key}, **json_body({}))
    assert express._place.cache_info().currsize == remembered
