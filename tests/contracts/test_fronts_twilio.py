"""Publishing to streams has the same fronts: whatever is sent, all answer the same, byte for byte."""

import asyncio
import base64
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels_app.core import publishing, tenancy
from channels_app.core.credentials import unseal
from channels_app.core.errors import StoreFull, StoreUnavailable
from channels_app.dialects.twilio import sids
from channels_app.models import Administrator, Instance, TwilioStream

from .fronts import SHORT, Fronts

DIFFERS = re.compile(rb"TZ[0-9a-f]{32}")
FORM = "application/x-www-form-urlencoded"
OTHER_FORM = f"{FORM}; charset=utf-8"


@pytest.fixture
def account(transactional_db) -> Administrator:
    return tenancy.administrator_of(get_user_model().objects.create_user("geralt", "geralt@rivia.example", "a-good-password"))


@pytest.fixture
def service(account) -> Instance:
    """Its streams: `lobby`, `a b/ü` (by its SID only), and `closed`, which takes nothing."""
    service = tenancy.create_instance(owner=account.user, name="rivia")
    tenancy.create_channel(service, name="lobby", custom_publish=True)
    tenancy.create_channel(service, name="closed")
    tenancy.create_channel(service, name="halls", custom_publish=True, type="separate_rooms")
    named = tenancy.create_channel(service, name="made", custom_publish=True)
    TwilioStream.objects.create(channel=named, instance=service, unique_name="a b%41+ü")
    return service


@pytest.fixture
def pair(account) -> str:
    return f"{sids.account_sid(account.uuid)}:{unseal(account.key_sealed)}"


def basic(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@pytest.fixture
def fronts(monkeypatch, service, settings) -> Fronts:
    settings.PUBSUB = {**settings.PUBSUB, "TWILIO_STREAM_RATE": "0"}
    return Fronts(monkeypatch, path_of(service, "lobby"), DIFFERS)


def path_of(service: Instance, stream: str) -> str:
    return f"/v1/Services/{sids.service_sid(service.uuid)}/Streams/{quote(stream, safe='')}/Messages"


def form(data: str | bytes) -> bytes:
    return b"Data=" + quote(data, safe="").encode()


GOOD = [
    b"Data={}",
    b"Data=%7B%22a%22%3A+%22b+c%22%7D",
    b"%44ata=%7B%7D",
    b"Data=nonsense&Data={}",
    b"x=1&Data={}&y",
    form('{"u":"é😀\u2028","n":null,"l":[1,{}],"f":1.0,"big":12345678901234567890123,"nul":"\\u0000"}'),
    form(json.dumps({"d": "a" * 4_088})),
    form('{"a":' + " " * 6_000 + "1}"),
]
BAD = [
    *(b"", b"data={}", b"Data", b"Data=", b"Data=invalid", b"Data=null", b"Data=[]", b"Data=%22x%22", b"Data=1"),
    *(b"Data=%7B%22a%22%3ANaN%7D", b'Data={"a":1e999}', b'Data={"a":"\\ud800"}', b'Data={"a":"\xff"}', b"Data=%ff%zz%"),
    *(form(json.dumps({"d": "a" * 4_089})), form('{"a":' + "[" * 2_000 + "]" * 2_000 + "}"), b"&" * 2_000),
]


@pytest.mark.parametrize(
    "stream", ["lobby", "a b%41+ü", "closed", "halls", "default", "nowhere", "TO" + "0" * 32, "a/b", "\x00"]
)
@pytest.mark.parametrize("body", [GOOD[0], GOOD[1], BAD[0], BAD[4]], ids=str)
async def test_every_stream(fronts, pair, service, stream, body):
    await fronts.all(path_of(service, stream), content=body, headers={"Content-Type": FORM, **basic(pair)})


@pytest.mark.parametrize("body", GOOD, ids=lambda body: str(body)[:40])
async def test_what_is_good_takes_the_express_lane(fronts, pair, body):
    answer = await fronts.all(content=body, headers={"Content-Type": FORM, **basic(pair)})
    assert (answer.status_code, fronts.express, fronts.short) == (201, 3, SHORT)


@pytest.mark.parametrize("body", BAD, ids=lambda body: str(body)[:40])
async def test_what_is_bad_is_refused_alike(fronts, pair, body):
    answer = await fronts.all(content=body, headers={"Content-Type": FORM, **basic(pair)})
    assert answer.status_code in (400, 413)
    assert fronts.express == 0


@pytest.mark.parametrize("stream", ["lobby", "a b%41+ü"])
async def test_a_stream_has_two_names(fronts, pair, service, stream):
    channel = await service.channels.aget(name="made" if stream != "lobby" else stream)
    for ref in (stream, sids.stream_sid(channel.uuid)):
        for of in (sids.service_sid(service.uuid), "rivia"):
            path = f"/v1/Services/{of}/Streams/{quote(ref, safe='')}/Messages"
            answer = await fronts.all(path, content=GOOD[0], headers={"Content-Type": FORM, **basic(pair)})
            assert answer.status_code == 201
    assert fronts.express == 12


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": OTHER_FORM},
        {"Content-Type": "Application/X-WWW-Form-Urlencoded"},
        {"Content-Type": FORM, "Origin": "https://example.com"},
        {"Content-Type": FORM, "Content-Encoding": "gzip"},
        {"Content-Type": FORM, "X-HTTP-Method-Override": "GET"},
        {"Content-Type": FORM, "Accept": "text/html"},
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {},
    ],
    ids=str,
)
async def test_headers_and_types(fronts, pair, headers):
    await fronts.all(content=GOOD[0], headers={**headers, **basic(pair)})


@pytest.mark.parametrize(
    "who",
    ["account", "key", "nobody", "bearer", "malformed", "no colon", "other account", "wrong token", "wrong key", "stranger"],
)
async def test_every_kind_of_credentials(fronts, account, pair, who):
    key, secret = await sync_to_async(tenancy.create_administrator_key)(account)
    user = await sync_to_async(get_user_model().objects.create_user)("ciri", "ciri@rivia.example", "a-good-password")
    stranger = await sync_to_async(tenancy.administrator_of)(user)
    headers = {
        "account": basic(pair),
        "key": basic(f"{sids.key_sid(key.uuid)}:{secret.text}"),
        "nobody": {},
        "bearer": {"Authorization": "Bearer x"},
        "malformed": {"Authorization": "Basic !"},
        "no colon": basic("AC"),
        "other account": basic("AC" + "0" * 32 + pair[34:]),
        "wrong token": basic(pair[:-1] + "x"),
        "wrong key": basic(f"{sids.key_sid(key.uuid)}:{pair[35:]}"),
        "stranger": basic(f"{sids.account_sid(stranger.uuid)}:{unseal(stranger.key_sealed)}"),
    }[who]
    answer = await fronts.all(content=GOOD[0], headers={"Content-Type": FORM, **headers})
    assert answer.status_code == {"account": 201, "key": 201, "stranger": 404}.get(who, 401)


async def test_the_limit_of_a_stream(fronts, pair, settings):
    settings.PUBSUB = {**settings.PUBSUB, "TWILIO_STREAM_RATE": "1", "TWILIO_STREAM_BURST": "2"}
    headers = {"Content-Type": FORM, **basic(pair)}
    for _ in range(5):
        await fronts.all(content=BAD[4], headers=headers)
    assert (await fronts.view(content=GOOD[0], headers=headers)).status_code == 201
    assert (await fronts.view(content=GOOD[0], headers=headers)).status_code == 201
    answer = await fronts.all(content=GOOD[0], headers=headers)
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (429, 54009, "1")
    assert answer.json()["message"] == "Rate limit exceeded for publish-stream-lobby"


async def test_a_limit_of_the_instance(fronts, pair, service):
    service.request_rate = 0
    await sync_to_async(service.save)()
    answer = await fronts.all(content=GOOD[0], headers={**basic(pair), "Content-Type": FORM})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


async def test_a_stream_that_takes_nothing_is_not_limited(fronts, pair, service, settings):
    settings.PUBSUB = {**settings.PUBSUB, "TWILIO_STREAM_RATE": "1", "TWILIO_STREAM_BURST": "1"}
    for _ in range(3):
        answer = await fronts.all(path_of(service, "closed"), content=GOOD[0], headers={"Content-Type": FORM, **basic(pair)})
        assert (answer.status_code, answer.json()["code"]) == (403, 54007)


@pytest.mark.parametrize("error", [StoreUnavailable(), StoreFull()], ids=lambda error: error.code)
async def test_a_log_that_does_not_take_it(fronts, pair, monkeypatch, error):
    monkeypatch.setattr(publishing.log, "append", lambda entries: [error] * len(entries))
    answer = await fronts.all(content=GOOD[0], headers={"Content-Type": FORM, **basic(pair)})
    assert (answer.status_code, answer.json()["code"]) == (503, 20503)


bodies = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda data: b"Data=" + data),
    st.text(st.characters(), max_size=40).map(
        lambda text: b"Data=" + quote_plus(text.encode("utf-8", "surrogatepass")).encode()
    ),
    st.dictionaries(st.text(), st.none() | st.integers() | st.floats() | st.text(), max_size=3).map(
        lambda value: form(json.dumps(value))
    ),
)


def test_anything_at_all(fronts, pair):
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=bodies)
    def send(body):
        answer = asyncio.run(fronts.all(content=body, headers={"Content-Type": FORM, **basic(pair)}))
        assert answer.status_code in (201, 400)

    send()
