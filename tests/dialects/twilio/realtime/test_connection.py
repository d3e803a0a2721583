"""Twilsock, seen by a client that knows the wire: who may connect, what it may say and ask, how it ends (wire/twilio.md §8).

What the real SDK makes of it is in tests/e2e/test_twilio_sync.py.
"""

import asyncio
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import DatabaseError

from channels_app.core import delivery, hub, tenancy
from channels_app.core.delivery import Delivery
from channels_app.dialects.twilio import sids
from channels_app.dialects.twilio.realtime import consumer, sessions
from channels_app.models import TwilioService

from .conftest import Farm
from .twilsock import HOST, Twilsock

pytestmark = pytest.mark.django_db(transaction=True)


# Saying who it is


async def test_a_token_opens_the_connection(farm: Farm) -> None:
    client = await Twilsock.open()
    reply = await client.init(farm.token())
    assert reply["status"] == {"code": 200, "status": "OK"}
    assert reply["continuation_token"]
    assert reply["capabilities"] == ["client_update", "offline_storage"]
    assert reply["offline_storage"]["data_sync"]["storage_id"]
    await client.leave()


WRONG_TOKENS = [
    ({"secret": "0" * 40}, 20107),
    ({"ttl": -60}, 20104),
    ({"nbf": 4_000_000_000}, 20105),
    ({"signing_key_sid": "SK" + "0" * 32}, 20103),
    ({"signing_key_sid": "nobody"}, 20103),
    ({"account_sid": "AC" + "0" * 32}, 20103),
    ({"identity": None}, 20106),
    ({"service_sid": None}, 20106),
    ({"service_sid": "IS" + "0" * 32}, 20106),
]


async def test_a_bad_token_is_denied_with_its_reason(farm: Farm) -> None:
    for wrong, code in WRONG_TOKENS:
        client = await Twilsock.open()
        status = (await client.init(farm.token(**wrong)))["status"]
        assert (status["code"], status["status"], status["errorCode"]) == (401, "UNAUTHORIZED", code), wrong
        assert await client.closed() == 4003


async def test_what_is_no_token_is_denied(farm: Farm) -> None:
    for token in (None, 7, "", "x", ["a.b.c"]):
        assert (await (await Twilsock.open()).init(token))["status"]["errorCode"] == 20101


async def test_a_token_for_the_service_of_another_account_is_denied(farm: Farm) -> None:
    yennefer = await sync_to_async(get_user_model().objects.create_user)("yennefer")
    other = await sync_to_async(tenancy.create_instance)(owner=yennefer, name="vengerberg")
    client = await Twilsock.open()
    status = (await client.init(farm.token(service_sid=sids.service_sid(other.uuid))))["status"]
    assert status["errorCode"] == 20106, "as one that does not exist"
    await client.leave()


async def test_the_streams_of_another_service_are_none(farm: Farm, ciri: Twilsock) -> None:
    other = await sync_to_async(tenancy.create_instance)(owner=farm.account.user, name="other")
    channel = await sync_to_async(tenancy.create_channel)(other, name="heatmap", custom_publish=True)
    sid = sids.stream_sid(channel.uuid)
    for method, path in (("GET", sid), ("GET", "heatmap"), ("DELETE", sid), ("POST", f"{sid}/Messages")):
        assert (await ciri.request(method, f"/v3/Streams/{path}", {"data": {}}))[0] == 404
    await ciri.subscriptions("establish", sid)
    assert (await ciri.event("subscription_failed"))["error"]["status"] == 404


@pytest.mark.parametrize(("module", "reader"), [(consumer, "admit"), (sessions, "_take")])
async def test_while_the_database_is_away_clients_are_to_try_again(
    farm: Farm, monkeypatch: pytest.MonkeyPatch, module: ModuleType, reader: str
) -> None:
    def away(*_: object) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(module, reader, away)
    socket = await Twilsock.open()
    assert (await socket.init(farm.token(), "twilsock" + "0" * 24))["status"]["code"] == 503
    await socket.leave()


async def test_nobody_asks_before_saying_who_it_is() -> None:
    client = await Twilsock.open()
    await client.send("message", http_request={})
    assert await client.closed() == 4003
    assert client.told[0].header["status"]["code"] == 401


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "INIT_SECONDS", 0.01)
    assert await (await Twilsock.open()).closed() == 4003


# Frames


async def test_what_is_no_frame_ends_that_connection_and_no_other(ciri: Twilsock) -> None:
    for data in (b"", b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"TWILSOCK V3.0 9\r\n{}\r\n", b"x" * 70_000):
        broken = await Twilsock.open()
        await broken.send_bytes(data)
        assert await broken.closed() == 1002
        assert broken.told[0].header["status"]["code"] == 406
    assert await ciri.open_stream()


async def test_text_is_no_frame(ciri: Twilsock) -> None:
    await ciri.send_text("TWILSOCK V3.0 2\r\n{}\r\n")
    assert await ciri.closed() == 1002


async def test_what_the_sdk_may_say_besides_is_heard_and_the_rest_refused(ciri: Twilsock) -> None:
    for method in ("put_notification_ctx", "delete_notification_ctx", "telemetry.v1"):
        assert (await ciri.ask(method)).header["status"]["code"] == 200
    for method in ("init", "notification", "", "__class__"):
        assert (await ciri.ask(method)).header["status"]["code"] == 400


async def test_a_client_that_closes_is_let_go(ciri: Twilsock) -> None:
    await ciri.send("close")
    assert await ciri.closed() == 1000


# Requests


NO_REQUESTS = [
    None,
    [],
    {},
    {"method": "GET", "host": "h"},
    {"method": 1, "host": "h", "path": "/v3/Streams/x"},
    {"method": "GET", "host": [], "path": "/v3/Streams/x"},
]


async def test_what_is_no_request_is_400(ciri: Twilsock) -> None:
    for asked in NO_REQUESTS:
        reply = await ciri.ask("message", http_request=asked)
        assert reply.header["http_status"]["code"] == 400, asked


async def test_a_body_that_is_no_json_object_is_400(ciri: Twilsock) -> None:
    asked = {"method": "POST", "host": "h", "path": "/v3/Streams"}
    for payload in (b"{", b"[]", b"null", b'"x"', b"\xff", b'{"a":NaN}', b"[" * 5000, b'{"a":' * 5000):
        reply = await ciri.ask("message", payload, http_request=asked)
        assert reply.header["http_status"] == {"code": 400, "status": "Bad Request"}
        assert json.loads(reply.payload)["code"] == 54008


REFUSED = {
    ("GET", "/"): (404, 20404),
    ("GET", "/v3"): (404, 20404),
    ("GET", "/v3/Streams/"): (404, 20404),
    ("GET", "/v3/Streams/%00"): (404, 20404),
    ("GET", "/v3/Streams/%ff"): (404, 20404),
    ("GET", "/v3/Streams/" + "x" * 9000): (404, 20404),
    ("GET", "/v3/Streams/TO" + "0" * 32): (404, 20404),
    ("POST", "/v3/Streams/nobody/Messages"): (404, 20404),
    ("GET", "/v1/Services"): (404, 20404),
    ("GET", "/v3/Streams"): (405, 20004),
    ("PUT", "/v3/Streams/x"): (405, 20004),
    ("", "/v3/Streams/x"): (405, 20004),
    ("GET", "/v4/Subscriptions"): (405, 20004),
}


async def test_what_is_not_there_is_refused_as_over_rest(ciri: Twilsock) -> None:
    for (method, path), refused in REFUSED.items():
        status, error = await ciri.request(method, path)
        assert (status, error["code"]) == refused, path


async def test_what_is_not_served_says_so(ciri: Twilsock) -> None:
    for kind in ("Documents", "Lists", "Maps"):
        for method, path in (("GET", f"/v3/{kind}/x"), ("POST", f"/v3/{kind}")):
            status, error = await ciri.request(method, path)
            assert (status, error["code"]) == (404, 20404)
            assert "not served here" in error["message"]


async def test_a_stream_is_made_opened_changed_and_removed(farm: Farm, ciri: Twilsock, yen: Twilsock) -> None:
    status, made = await ciri.request("POST", "/v3/Streams", {"unique_name": "heatmap", "ttl": 3600})
    assert (status, made["unique_name"], made["created_by"]) == (201, "heatmap", "ciri")
    assert made["date_expires"]
    path = made["url"].removeprefix(HOST)
    assert await yen.request("GET", "/v3/Streams/heatmap") == (200, made)
    assert await yen.request("GET", path) == (200, made)
    assert (await yen.request("POST", path, {"ttl": 0}))[1]["date_expires"] is None
    assert await yen.request("DELETE", path) == (204, None)
    assert (await ciri.request("GET", path))[0] == 404


async def test_a_name_that_is_taken_is_409(ciri: Twilsock) -> None:
    await ciri.open_stream()
    status, error = await ciri.request("POST", "/v3/Streams", {"unique_name": "heatmap"})
    assert (status, error["code"]) == (409, 54301)


BAD_FIELDS = [
    ({"unique_name": ""}, 54302),
    ({"unique_name": "x" * 321}, 54302),
    ({"unique_name": 7}, 54302),
    ({"unique_name": ["x"]}, 54302),
    ({"unique_name": "a\x00b"}, 54302),
    ({"ttl": -1}, 54011),
    ({"ttl": 31_536_001}, 54011),
    ({"ttl": 1.5}, 54011),
    ({"ttl": True}, 54011),
    ({"ttl": "soon"}, 54011),
    ({"ttl": {}}, 54011),
]


async def test_bad_fields_of_a_stream_are_refused(ciri: Twilsock) -> None:
    for body, code in BAD_FIELDS:
        status, error = await ciri.request("POST", "/v3/Streams", body)
        assert (status, error["code"]) == (400, code), body


async def test_a_service_with_an_acl_lets_clients_only_use_its_streams(farm: Farm, ciri: Twilsock) -> None:
    stream = (await ciri.open_stream())["url"].removeprefix(HOST)
    await TwilioService.objects.aupdate_or_create(instance=farm.instance, defaults={"acl_enabled": True})
    for method, path, body in (("POST", "/v3/Streams", {}), ("POST", stream, {"ttl": 5}), ("DELETE", stream, None)):
        status, error = await ciri.request(method, path, body)
        assert (status, error["code"]) == (403, 54007)
    assert (await ciri.publish({}))[0] == 201


async def test_the_services_own_limit_holds_for_what_clients_ask(farm: Farm, ciri: Twilsock) -> None:
    await ciri.open_stream()
    farm.instance.request_rate = 0
    await sync_to_async(farm.instance.save)()
    status, error = await ciri.request("GET", "/v3/Streams/heatmap")
    assert (status, error["code"]) == (429, 54009)
    farm.instance.request_rate = None
    await sync_to_async(farm.instance.save)()
    assert (await ciri.request("GET", "/v3/Streams/heatmap"))[0] == 200


# How it ends


async def test_a_token_that_ends_is_announced_and_ends_the_connection(connect: Callable[..., Any]) -> None:
    client = await connect(ttl=2)
    assert (await client.next("client_update")).header["client_update_type"] == "token_about_to_expire"
    assert (await client.next("close")).header["status"]["code"] == 410
    assert await client.closed() == 4003


async def test_a_renewed_token_goes_on(farm: Farm, connect: Callable[..., Any]) -> None:
    client = await connect(ttl=2)
    await client.next("client_update")
    assert (await client.ask("update", token=farm.token())).header["status"]["code"] == 200
    assert await client.open_stream()


async def test_a_token_that_does_not_renew_is_refused(farm: Farm, connect: Callable[..., Any]) -> None:
    for wrong in ({"identity": "emhyr"}, {"secret": "0" * 40}, {"ttl": -60}):
        client = await connect()
        status = (await client.ask("update", token=farm.token(**wrong))).header["status"]
        assert (status["code"], status["status"]) == (401, "UNAUTHORIZED"), wrong
        assert await client.closed() == 4003


async def test_a_revoked_key_ends_the_connections_that_it_opened(farm: Farm, ciri: Twilsock) -> None:
    await ciri.subscribe((await ciri.open_stream())["sid"])
    await sync_to_async(farm.key.delete)()
    assert (await ciri.next("close")).header["status"]["code"] == 401
    assert await ciri.closed() == 4003


async def test_a_revoked_key_ends_a_quiet_connection_at_its_next_request(farm: Farm, ciri: Twilsock) -> None:
    await sync_to_async(farm.key.delete)()
    await ciri.send("message", http_request={"method": "GET", "host": "h", "path": "/v3/Streams/x", "headers": {}})
    assert (await ciri.next("close")).header["status"]["code"] == 401


async def test_a_token_of_another_key_keeps_the_connection(farm: Farm, ciri: Twilsock) -> None:
    await ciri.subscribe((await ciri.open_stream())["sid"])
    first = farm.key
    farm.key, farm.secret = await sync_to_async(farm.new_key)()
    await ciri.ask("update", token=farm.token())
    await sync_to_async(first.delete)()
    await hub.current()._check_rights()
    await sync_to_async(farm.publish)("heatmap", "still here")
    assert await ciri.message() == "still here"


async def test_a_server_that_stops_sends_its_clients_elsewhere(ciri: Twilsock) -> None:
    await ciri.subscribe((await ciri.open_stream())["sid"])
    await hub.drain(0.1)
    leaving = await ciri.next("close")
    assert leaving.header["status"]["code"] == 308
    assert json.loads(leaving.payload)["backoff_policy"]["reconnect_min_ms"] >= 1000
    assert await ciri.closed() == 4200


async def test_a_services_webhook_hears_who_comes_and_goes(
    farm: Farm, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = {"webhook_url": "https://example.com/hook", "reachability_webhooks_enabled": True}
    await TwilioService.objects.aupdate_or_create(instance=farm.instance, defaults=hook)
    told: asyncio.Queue[Delivery] = asyncio.Queue()
    monkeypatch.setattr(delivery, "send", told.put_nowait)
    client = await connect("ciri")
    come = dict(parse_qsl((await told.get()).body.decode()))
    assert (come["EventType"], come["Identity"]) == ("endpoint_connected", "ciri")
    await client.leave()
    gone = dict(parse_qsl((await told.get()).body.decode()))
    assert (gone["EventType"], gone["EndpointId"]) == ("endpoint_disconnected", come["EndpointId"])
