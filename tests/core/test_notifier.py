"""What is told to other processes: everything that grew, in few commands, with messages only where somebody listens."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest

from channels_app.core import notifier
from channels_app.core.notifier import Outbox
from channels_app.core.types import Message, StreamAdvanced

pytestmark = pytest.mark.asyncio


class Layer:
    """Takes what is sent when the test lets it; `members` are the groups that another process is in."""

    def __init__(self, *members: str) -> None:
        self.members = set(members)
        self.sent: list[Mapping[str, Mapping[str, Any]]] = []
        self.arrived = asyncio.Event()
        self.may_arrive = asyncio.Event()
        self.may_arrive.set()

    async def send_to_groups(self, messages: Mapping[str, Mapping[str, Any]], sender: str) -> set[str]:
        assert sender == notifier.PROCESS
        self.sent.append(messages)
        self.arrived.set()
        await self.may_arrive.wait()
        return self.members & messages.keys()

    async def next_sent(self) -> Mapping[str, Mapping[str, Any]]:
        await self.arrived.wait()
        self.arrived.clear()
        return self.sent[-1]


def hint(id_: int, channel_id: int = 1, room: str = "", payload: str = "{}") -> StreamAdvanced:
    message = Message(channel_id, id_, id_ - 1, room, 0, "custom", "{}", "{}", payload)
    return StreamAdvanced(channel_id, "e", {room: id_}, (message,))


def ids(event: Mapping[str, Any]) -> list[int]:
    return [message[0] for message in event["messages"]]


async def test_messages_are_sent_only_where_somebody_listens():
    layer, outbox = Layer("pubsub.1"), Outbox()
    outbox.put(layer, [hint(1), hint(7, channel_id=2)])
    asked = await layer.next_sent()
    assert {group: (event["heads"], ids(event)) for group, event in asked.items()} == {
        "pubsub.1": ({"": 1}, []),
        "pubsub.2": ({"": 7}, []),
    }
    outbox.put(layer, [hint(2), hint(8, channel_id=2)])
    told = await layer.next_sent()
    assert {group: ids(event) for group, event in told.items()} == {"pubsub.1": [2], "pubsub.2": []}


async def test_who_stops_listening_gets_no_more_messages():
    layer, outbox = Layer("pubsub.1"), Outbox()
    outbox.put(layer, [hint(1)])
    await layer.next_sent()
    layer.members.clear()
    outbox.put(layer, [hint(2)])
    assert ids((await layer.next_sent())["pubsub.1"]) == [2]
    outbox.put(layer, [hint(3)])
    assert ids((await layer.next_sent())["pubsub.1"]) == []


async def test_what_is_announced_while_hints_are_on_their_way_goes_out_together():
    layer, outbox = Layer("pubsub.1"), Outbox()
    outbox.put(layer, [hint(1)])
    await layer.next_sent()
    layer.may_arrive.clear()
    outbox.put(layer, [hint(2)])
    await layer.next_sent()
    outbox.put(layer, [hint(3, room="a")])
    outbox.put(layer, [hint(4, room="b"), hint(9, channel_id=2)])
    layer.may_arrive.set()
    together = await layer.next_sent()
    assert (together["pubsub.1"]["heads"], ids(together["pubsub.1"])) == ({"a": 3, "b": 4}, [3, 4])
    assert together["pubsub.2"]["heads"] == {"": 9}
    assert len(layer.sent) == 3


async def test_messages_of_an_earlier_epoch_do_not_pass_for_ones_of_the_next():
    layer, outbox = Layer("pubsub.1"), Outbox()
    outbox.put(layer, [hint(1)])
    await layer.next_sent()
    outbox.put(layer, [hint(2), dataclasses.replace(hint(1), epoch="f")])
    told = (await layer.next_sent())["pubsub.1"]
    assert (told["epoch"], told["heads"], ids(told)) == ("f", {"": 1}, [1])


async def test_messages_past_the_limit_are_left_to_the_log(monkeypatch):
    monkeypatch.setattr(notifier, "MERGED_BYTES", 1_000)
    layer, outbox = Layer("pubsub.1", "pubsub.2"), Outbox()
    outbox.put(layer, [hint(1), hint(1, channel_id=2)])
    await layer.next_sent()
    outbox.put(layer, [hint(2, payload="x" * 700), hint(2, channel_id=2, payload="x" * 700)])
    assert {group: ids(event) for group, event in (await layer.next_sent()).items()} == {"pubsub.1": [2], "pubsub.2": []}


async def test_a_layer_that_hangs_costs_its_hints_and_none_after_them(monkeypatch):
    monkeypatch.setattr(notifier, "ANSWER_SECONDS", 0.01)
    layer, outbox = Layer("pubsub.1"), Outbox()
    layer.may_arrive.clear()
    outbox.put(layer, [hint(1)])
    async with asyncio.timeout(10):
        await layer.next_sent()
        outbox.put(layer, [hint(2)])
        assert (await layer.next_sent())["pubsub.1"]["heads"] == {"": 2}


async def test_a_layer_that_fails_costs_hints_and_one_line(caplog, monkeypatch):
    monkeypatch.setattr(notifier, "_silent_until", {})
    layer, outbox = Layer("pubsub.1"), Outbox()

    async def refuse(messages: Mapping[str, Any], sender: str) -> set[str]:
        layer.arrived.set()
        raise ConnectionError

    monkeypatch.setattr(layer, "send_to_groups", refuse)
    for id_ in (1, 2):
        outbox.put(layer, [hint(id_)])
        await layer.arrived.wait()
        layer.arrived.clear()
    monkeypatch.undo()
    outbox.put(layer, [hint(3)])
    assert (await layer.next_sent())["pubsub.1"]["heads"] == {"": 3}
    assert caplog.text.count("A hint to other processes was lost") == 1


class Groups:
    """A layer whose groups can be joined when the test lets it."""

    ring_size = 1

    def __init__(self) -> None:
        self.joined: list[str] = []
        self.is_away = False
        self.may_join = asyncio.Event()
        self.may_leave = asyncio.Event()
        self.may_leave.set()
        self.received: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()

    async def group_add(self, group: str, name: str) -> None:
        assert name == notifier.PROCESS
        self.joined.append(group)
        await self.may_join.wait()
        if self.is_away:
            raise OSError("away")

    async def group_discard(self, group: str, name: str) -> None:
        await self.may_leave.wait()
        self.joined.remove(group)

    async def receive_many(self, channel: str, index: int) -> list[dict[str, Any]]:
        return await self.received.get()


@pytest.fixture
async def groups(monkeypatch):
    groups = Groups()
    monkeypatch.setattr(notifier, "_layer", lambda: groups)
    monkeypatch.setattr(notifier, "_silent_until", {})
    return groups


@pytest.fixture
async def inbox(groups):
    inbox = notifier.Inbox(receiver=None)
    yield inbox
    await inbox.close()


async def test_all_readers_of_a_channel_wait_for_one_joining_of_its_group(groups, inbox):
    readers = [asyncio.ensure_future(inbox.watch(1)) for _ in range(3)]
    await asyncio.sleep(0)
    readers[0].cancel()
    _, still_waiting = await asyncio.wait(readers, timeout=0, return_when=asyncio.ALL_COMPLETED)
    assert still_waiting
    groups.may_join.set()
    await asyncio.gather(*readers[1:], inbox.watch(1), inbox.watch(2))
    assert groups.joined == ["pubsub.1", "pubsub.2"]


async def test_a_group_is_joined_again_when_asked_for_or_left_or_when_joining_failed(groups, inbox):
    groups.may_join.set()
    groups.is_away = True
    await inbox.watch(1)
    groups.is_away = False
    await inbox.watch(1)
    assert groups.joined == ["pubsub.1"] * 2
    await inbox.watch(1, again=True)
    assert groups.joined == ["pubsub.1"] * 3
    await inbox.unwatch(1)
    await inbox.watch(1)
    assert groups.joined == ["pubsub.1"] * 3


async def test_nobody_waits_long_for_a_redis_that_hangs(groups, inbox, monkeypatch, caplog):
    monkeypatch.setattr(notifier, "ANSWER_SECONDS", 0.01)
    async with asyncio.timeout(10):
        await inbox.watch(1)
        assert "Hints for some channels will not arrive: TimeoutError" in caplog.text
        groups.may_leave.clear()
        await inbox.unwatch(1)
    assert "Still listed for some channels: TimeoutError" in caplog.text


async def test_a_redis_that_hangs_is_not_healthy(monkeypatch):
    monkeypatch.setattr(notifier, "ANSWER_SECONDS", 0.01)
    layer = Layer()
    layer.may_arrive.clear()
    monkeypatch.setattr(notifier, "_layer", lambda: layer)
    with pytest.raises(TimeoutError):
        await notifier.check()


async def test_a_group_that_is_being_joined_is_not_joined_a_second_time(groups, inbox):
    waiting = [asyncio.ensure_future(inbox.watch(1, again=again)) for again in (False, True, True)]
    await asyncio.sleep(0)
    groups.may_join.set()
    await asyncio.gather(*waiting)
    assert groups.joined == ["pubsub.1"]


async def test_a_hint_that_nobody_understands_does_not_end_the_hearing(groups, inbox, monkeypatch, caplog):
    """A process of another version may send it, during an upgrade."""
    heard: asyncio.Queue[StreamAdvanced] = asyncio.Queue()
    monkeypatch.setattr(inbox, "_receiver", mock.Mock(advanced=heard.put_nowait))
    real_sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: real_sleep(0))
    groups.may_join.set()
    await inbox.watch(1)
    groups.received.put_nowait([{"type": "pubsub.advanced", "channel_id": 1, "of": "tomorrow"}])
    groups.received.put_nowait([notifier._encode(hint(1))])
    assert await heard.get() == hint(1)
    assert "No hints for the moment: KeyError" in caplog.text
