"""Twilsock's streams, seen by a client that knows the wire: messages, subscriptions, coming back (wire/twilio.md §8)."""

import asyncio
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError
from django.utils import timezone

from channels_app.core import hub, log, retention, tenancy
from channels_app.core.errors import StoreUnavailable
from channels_app.dialects.twilio import messages
from channels_app.dialects.twilio.realtime import consumer, events, sessions, subscriptions
from channels_app.models import Channel, Counter, Message

from .conftest import Farm
from .twilsock import Twilsock

pytestmark = pytest.mark.django_db(transaction=True)


async def restart() -> None:
    """What another process would know of the clients."""
    await sessions.current().close()


# Messages


async def test_a_message_reaches_who_is_subscribed_but_not_who_sent_it(ciri: Twilsock, yen: Twilsock) -> None:
    stream = await ciri.open_stream()
    for client in (ciri, yen):
        await client.subscribe(stream["sid"])
    status, sent = await ciri.publish({"x": 256, "text": "żółć ☃"})
    assert (status, sent["data"]) == (201, {"x": 256, "text": "żółć ☃"})
    seen = await yen.event("stream_message_published")
    assert (seen["stream_sid"], seen["message_sid"], seen["message_data"]) == (stream["sid"], sent["sid"], sent["data"])
    await yen.publish({"from": "yen"})
    assert await ciri.message() == {"from": "yen"}, "and nothing before it"


async def test_nor_where_the_server_lets_frames_be_written_directly(connect: Callable[..., Any]) -> None:
    ciri, yen = await connect("ciri", direct=True), await connect("yen", direct=True)
    stream = await ciri.open_stream()
    for client in (ciri, yen):
        await client.subscribe(stream["sid"])
    await ciri.publish({"from": "ciri"})
    assert await yen.message() == {"from": "ciri"}
    await yen.publish({"from": "yen"})
    assert await ciri.message() == {"from": "yen"}, "and nothing before it"


async def test_whatever_json_others_publish_is_delivered(farm: Farm, ciri: Twilsock) -> None:
    await ciri.subscribe((await ciri.open_stream())["sid"])
    payloads = [{}, [1, {"a": None}], "text", 3.5, True, None]
    await sync_to_async(farm.publish)("heatmap", *payloads)
    assert await ciri.messages(len(payloads)) == payloads


async def test_what_is_no_message_is_refused(ciri: Twilsock) -> None:
    refused = [(None, 400, 54251), ([], 400, 54008), ("{}", 400, 54008), ({"a": "x" * 4096}, 413, 54006)]
    for data, *expected in refused:
        status, error = await ciri.publish(data)
        assert [status, error["code"]] == expected


async def test_a_request_that_the_sdk_repeats_is_one_message(farm: Farm, ciri: Twilsock) -> None:
    again = {"Twilio-Request-Id": "RQ" + "a" * 32}
    first, second = [await ciri.publish({"n": 1}, **again) for _ in range(2)]
    assert first == second
    assert (await sync_to_async(log.head)((await sync_to_async(farm.channel)("heatmap")).pk, "")).last_id == 1


async def test_a_request_of_another_client_is_another_message(ciri: Twilsock, yen: Twilsock) -> None:
    same = {"Twilio-Request-Id": "RQ" + "a" * 32}
    assert (await ciri.publish({"n": 1}, **same))[1]["sid"] != (await yen.publish({"n": 1}, **same))[1]["sid"]


async def test_too_many_messages_are_429(ciri: Twilsock, settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "TWILIO_STREAM_RATE": 1, "TWILIO_STREAM_BURST": 2}
    answers = [await ciri.publish({}) for _ in range(3)]
    assert [status for status, _ in answers] == [201, 201, 429]
    assert answers[-1][1]["code"] == 54009


# Subscriptions


async def test_several_streams_on_one_connection(farm: Farm, ciri: Twilsock) -> None:
    streams = [await ciri.open_stream(name) for name in ("a", "b", "c")]
    await ciri.subscribe(*(stream["sid"] for stream in streams))
    for name in ("c", "a", "b"):
        await sync_to_async(farm.publish)(name, {"from": name})
        assert await ciri.message() == {"from": name}


async def test_who_asks_again_is_confirmed_again_and_told_once(farm: Farm, ciri: Twilsock) -> None:
    sid = (await ciri.open_stream())["sid"]
    await ciri.subscribe(sid)
    await ciri.subscriptions("establish", sid, correlation_id="again")
    confirmed = await ciri.event("subscription_established")
    assert (confirmed["object_sid"], confirmed["replay_status"], confirmed["correlation_id"]) == (sid, "completed", "again")
    await sync_to_async(farm.publish)("heatmap", 1, 2)
    assert await ciri.messages(2) == [1, 2]


async def test_a_canceled_subscription_is_quiet_and_begins_anew(farm: Farm, ciri: Twilsock) -> None:
    sid = (await ciri.open_stream())["sid"]
    await ciri.subscribe(sid)
    await ciri.subscriptions("cancel", sid, correlation_id=5)
    assert (await ciri.event("subscription_canceled"))["correlation_id"] == 5
    await sync_to_async(farm.publish)("heatmap", "unheard")
    await ciri.subscribe(sid)
    await sync_to_async(farm.publish)("heatmap", "heard")
    assert await ciri.message() == "heard"


@pytest.mark.parametrize("spelled", [str.upper, lambda sid: "heatmap"], ids=["in capitals", "by its name"])
async def test_a_stream_is_subscribed_to_and_canceled_however_it_is_called(
    farm: Farm, ciri: Twilsock, monkeypatch: pytest.MonkeyPatch, spelled: Callable[[str], str]
) -> None:
    monkeypatch.setattr(subscriptions, "MAX_SUBSCRIPTIONS", 1)
    sid = (await ciri.open_stream())["sid"]
    for name in (spelled(sid), sid, spelled(sid)):
        await ciri.subscribe(name)
    await ciri.subscriptions("cancel", spelled(sid))
    assert (await ciri.event("subscription_canceled"))["object_sid"] == spelled(sid)
    await sync_to_async(farm.publish)("heatmap", "unheard")
    await ciri.subscribe(sid)
    await sync_to_async(farm.publish)("heatmap", "heard")
    assert await ciri.message() == "heard"


async def test_what_is_not_subscribed_to_can_be_canceled(ciri: Twilsock) -> None:
    for sid in ("TO" + "0" * 32, "nobody", (await ciri.open_stream())["sid"]):
        await ciri.subscriptions("cancel", sid)
        assert (await ciri.event("subscription_canceled"))["object_sid"] == sid


async def test_what_cannot_be_subscribed_to_fails_by_itself(ciri: Twilsock) -> None:
    sid = (await ciri.open_stream())["sid"]
    await ciri.subscriptions("establish", "TO" + "0" * 32)
    missing = await ciri.event("subscription_failed")
    assert (missing["object_sid"], missing["error"]["status"]) == ("TO" + "0" * 32, 404), "the SDK takes it for removed"
    await ciri.subscriptions("establish", "MP" + "0" * 32, kind="map")
    assert "not served here" in (await ciri.event("subscription_failed"))["error"]["message"]
    await ciri.subscribe(sid)


async def test_a_connection_has_a_limit_of_subscriptions(ciri: Twilsock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_SUBSCRIPTIONS", 2)
    streams = [(await ciri.open_stream(name))["sid"] for name in ("a", "b", "c")]
    await ciri.subscribe(*streams[:2])
    await ciri.subscriptions("establish", streams[2])
    assert (await ciri.event("subscription_failed"))["error"]["code"] == 54419
    await ciri.subscribe(streams[0])


NO_SUBSCRIPTIONS: list[dict[str, Any]] = [
    {},
    {"action": "establish"},
    {"action": "establish", "requests": {}},
    {"action": "establish", "requests": ["TO1"]},
    {"action": "establish", "requests": [{"object_sid": 1, "object_type": "stream"}]},
    {"action": "establish", "requests": [{"object_sid": "TO1"}]},
    {"action": "establish", "requests": [{"object_sid": "TO1", "object_type": "stream"}] * 101},
    {"action": "establish", "requests": [], "correlation_id": {}},
    {"action": "replay", "requests": []},
    {"action": None, "requests": []},
]


async def test_what_is_no_subscription_is_400(ciri: Twilsock) -> None:
    for body in NO_SUBSCRIPTIONS:
        status, error = await ciri.request("POST", "/v4/Subscriptions", body)
        assert (status, error["code"]) == (400, 20001), body


async def test_a_removed_stream_says_so(farm: Farm, ciri: Twilsock) -> None:
    sid = (await ciri.open_stream())["sid"]
    await ciri.subscribe(sid)
    await sync_to_async(tenancy.delete_channel)(await sync_to_async(farm.channel)("heatmap"))
    assert (await ciri.event("stream_removed"))["stream_sid"] == sid


async def test_who_removes_a_stream_is_not_told_of_it(ciri: Twilsock, yen: Twilsock) -> None:
    sid = (await ciri.open_stream())["sid"]
    for client in (ciri, yen):
        await client.subscribe(sid)
    assert await ciri.request("DELETE", f"/v3/Streams/{sid}") == (204, None)
    await yen.event("stream_removed")
    await ciri.subscribe((await ciri.open_stream("another"))["sid"])
    assert not ciri.told


async def test_who_could_not_remove_a_stream_still_hears_it(
    farm: Farm, ciri: Twilsock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid = (await ciri.open_stream())["sid"]
    await ciri.subscribe(sid)
    with monkeypatch.context() as broken:
        broken.setattr(tenancy, "delete_channel", Mock(side_effect=StoreUnavailable))
        assert (await ciri.request("DELETE", f"/v3/Streams/{sid}"))[0] == 503
    await sync_to_async(farm.publish)("heatmap", {"still": "here"})
    assert await ciri.message() == {"still": "here"}
    await sync_to_async(tenancy.delete_channel)(await sync_to_async(farm.channel)("heatmap"))
    await ciri.event("stream_removed")


async def test_an_expired_stream_says_so(farm: Farm, ciri: Twilsock) -> None:
    sid = (await ciri.open_stream())["sid"]
    await ciri.subscribe(sid)
    await Channel.objects.filter(name="heatmap").aupdate(expires_at=timezone.now())
    await sync_to_async(retention.sweep)()
    assert (await ciri.event("stream_removed"))["stream_sid"] == sid


async def test_a_failure_of_ours_has_the_client_come_back(
    farm: Farm, ciri: Twilsock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await ciri.subscribe((await ciri.open_stream())["sid"])

    def fail(*_: object) -> bytes:
        raise ArithmeticError("ours")

    monkeypatch.setattr(events.StreamFrames, "frame", fail)
    await sync_to_async(farm.publish)("heatmap", 1)
    assert (await ciri.next("close")).header["status"]["code"] == 308
    assert "ours" in caplog.text


# Coming back


async def test_who_comes_back_goes_on_after_what_it_acknowledged(farm: Farm, connect: Callable[..., Any]) -> None:
    away = await connect()
    sid = (await away.open_stream())["sid"]
    await away.subscribe(sid)
    await sync_to_async(farm.publish)("heatmap", 1, 2, 3)
    assert await away.messages(2) == [1, 2]
    await away.next("notification")  # 3 arrives, and is not acknowledged
    await away.leave()
    await sync_to_async(farm.publish)("heatmap", 4)
    await restart()
    back = await connect(continuation_token=away.continuation_token)
    assert back.continuation_token == away.continuation_token
    await back.subscribe(sid)
    assert await back.messages(2) == [3, 4]


async def test_what_is_subscribed_is_remembered_before_anything_was_published(farm: Farm, connect: Callable[..., Any]) -> None:
    away = await connect()
    sid = (await away.open_stream())["sid"]
    await away.subscribe(sid)
    sessions._registries.clear()  # a crash: nothing is written any more
    await sync_to_async(farm.publish)("heatmap", "missed")
    back = await connect(continuation_token=away.continuation_token)
    await back.subscribe(sid)
    assert await back.message() == "missed"


async def test_what_cannot_be_remembered_is_confirmed_only_once_it_is(ciri: Twilsock, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = (await ciri.open_stream())["sid"]
    warnings: asyncio.Queue[object] = asyncio.Queue()
    with monkeypatch.context() as away:
        away.setattr(sessions, "_store", Mock(side_effect=DatabaseError("away")))
        away.setattr(subscriptions.logger, "warning", lambda *warning: warnings.put_nowait(warning))
        for _ in range(2):  # it asks again, and nothing more is to be remembered than at first
            await ciri.subscriptions("establish", sid)
            async with asyncio.timeout(2):
                await warnings.get()
    assert not ciri.told
    await ciri.subscriptions("establish", sid, correlation_id="stored")
    assert (await ciri.event("subscription_established"))["correlation_id"] == "stored"


async def test_what_is_acknowledged_on_leaving_is_not_told_again(
    farm: Farm, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "PARTING_SECONDS", 10.0)
    leaving = await connect()
    sid = (await leaving.open_stream())["sid"]
    await leaving.subscribe(sid)
    await sync_to_async(farm.publish)("heatmap", 1)
    message = await leaving.next("notification")
    draining = asyncio.ensure_future(hub.drain(0))
    await leaving.next("close")
    await sync_to_async(farm.publish)("heatmap", 2)
    await leaving.acknowledge(message)
    await leaving.leave()
    await draining
    await hub.current().close()
    await restart()
    back = await connect(continuation_token=leaving.continuation_token)
    await back.subscribe(sid)
    assert await back.message() == 2


async def test_who_comes_back_before_the_server_missed_it_goes_on_too(farm: Farm, connect: Callable[..., Any]) -> None:
    lost = await connect()
    sid = (await lost.open_stream())["sid"]
    await lost.subscribe(sid)
    await sync_to_async(farm.publish)("heatmap", 1)
    await lost.message()
    back = await connect(continuation_token=lost.continuation_token)
    await sync_to_async(farm.publish)("heatmap", 2)
    await back.subscribe(sid)
    assert await back.message() == 2


async def test_its_own_messages_are_not_told_to_who_comes_back(farm: Farm, connect: Callable[..., Any]) -> None:
    away = await connect()
    sid = (await away.open_stream())["sid"]
    await away.subscribe(sid)
    await away.publish({"own": True})
    await sync_to_async(farm.publish)("heatmap", "other")
    assert await away.message() == "other"
    await away.leave()
    await restart()
    back = await connect(continuation_token=away.continuation_token)
    await back.publish({"own": True})
    await back.subscribe(sid)
    await sync_to_async(farm.publish)("heatmap", "more")
    assert await back.message() == "more"


@pytest.mark.parametrize("direct", [False, True])
async def test_nor_is_one_that_was_still_under_way_when_the_connection_was_lost(
    farm: Farm, connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    lost = await connect(direct=direct)
    sid = (await lost.open_stream())["sid"]
    await lost.subscribe(sid)
    begun, goes_on = asyncio.Event(), asyncio.Event()
    publish = messages.apublish

    async def slow(*args: Any) -> Any:
        begun.set()
        await goes_on.wait()
        return await publish(*args)

    monkeypatch.setattr(messages, "apublish", slow)
    publishing = asyncio.ensure_future(lost.publish({"own": True}))
    await begun.wait()
    back = await connect(continuation_token=lost.continuation_token, direct=direct)
    await back.subscribe(sid)
    goes_on.set()
    assert (await publishing)[0] == 201
    await sync_to_async(farm.publish)("heatmap", "other")
    assert await back.message() == "other"


async def test_who_has_come_back_soon_shares_the_frames_of_all_others(
    connect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "LATE_SECONDS", 0.01)
    away = await connect(direct=True)
    sid = (await away.open_stream())["sid"]
    await away.subscribe(sid)
    back = await connect(continuation_token=away.continuation_token, direct=True)
    for client in (back, await connect("yen", direct=True)):
        await client.subscribe(sid)
    async with asyncio.timeout(10):
        while len({each.sink.encode for each in hub.current()._subscribers}) > 1:  # noqa: ASYNC110  (no event tells)
            await asyncio.sleep(0.01)


async def test_its_own_messages_are_not_missed_by_who_comes_back(farm: Farm, connect: Callable[..., Any]) -> None:
    away = await connect()
    sid = (await away.open_stream())["sid"]
    await away.subscribe(sid)
    for n in range(3):
        await away.publish({"own": n})
    await away.leave()
    channel = await sync_to_async(farm.channel)("heatmap")
    await sync_to_async(log.trim)(channel.pk, older_than=None, keep=0, limit=10)
    back = await connect(continuation_token=away.continuation_token)
    await back.subscribe(sid)
    await sync_to_async(farm.publish)("heatmap", "other")
    assert await back.message() == "other", "and no notice before it"


async def test_a_message_of_its_own_acknowledges_none_before_it(farm: Farm, connect: Callable[..., Any]) -> None:
    away = await connect()
    sid = (await away.open_stream())["sid"]
    await away.subscribe(sid)
    await sync_to_async(farm.publish)("heatmap", "other")
    await away.next("notification")
    await away.publish({"own": True})
    await away.leave()
    back = await connect(continuation_token=away.continuation_token)
    await back.subscribe(sid)
    assert await back.message() == "other"


async def test_another_identity_does_not_go_on_with_the_token(farm: Farm, connect: Callable[..., Any]) -> None:
    away = await connect("ciri")
    other = await connect("emhyr", continuation_token=away.continuation_token)
    assert other.continuation_token != away.continuation_token


async def test_what_is_gone_meanwhile_is_told(farm: Farm, connect: Callable[..., Any]) -> None:
    away = await connect()
    sid = (await away.open_stream())["sid"]
    await away.subscribe(sid)
    await away.leave()
    await sync_to_async(farm.publish)("heatmap", 1, 2, 3)
    await Channel.objects.filter(name="heatmap").aupdate(retention_age=None, retention_count=1)
    await sync_to_async(retention.sweep)()
    back = await connect(continuation_token=away.continuation_token)
    await back.subscribe(sid)
    missed = await back.event("stream_messages_missed")
    assert (missed["stream_sid"], missed["from"], missed["to"], missed["reason"]) == (sid, 1, 2, "trimmed")
    assert await back.message() == 3


async def test_what_was_told_before_a_backup_was_restored_acknowledges_nothing_after_it(
    farm: Farm, connect: Callable[..., Any]
) -> None:
    away = await connect()
    sid = (await away.open_stream())["sid"]
    await away.subscribe(sid)
    channel = await sync_to_async(farm.channel)("heatmap")
    await sync_to_async(farm.publish)("heatmap", 1, 2, 3)
    told = [await away.next("notification") for _ in range(3)]
    await Message.objects.filter(channel_id=channel.pk).adelete()
    await Counter.objects.filter(channel_id=channel.pk).aupdate(last_id=0)
    await sync_to_async(log.renew_epochs)()
    assert (await away.event("stream_messages_missed"))["reason"] == "epoch"
    await away.acknowledge(told[2])
    await sync_to_async(farm.publish)("heatmap", "a", "b")
    await away.next("notification")
    await away.leave()
    back = await connect(continuation_token=away.continuation_token)
    await back.subscribe(sid)
    assert await back.messages(2) == ["a", "b"]
