"""What the core counts of itself: each number moves when, and only when, what it stands for has happened."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings
from prometheus_client import REGISTRY, generate_latest

from channels_app.core import hub, log, metrics, notifier, publishing, retention
from channels_app.core.credentials import Credentials
from channels_app.core.errors import Conflict, PermissionDenied
from channels_app.core.principals import ANONYMOUS
from channels_app.core.subscriber import Access, Subscriber, SubscriberClosed
from channels_app.core.types import REVOKED, Draft, Front, Gap, Message, Position, StreamAdvanced

from .conftest import MANAGER, apublish, apublish_many, publish, publish_many

FRONT = Front("tests", "front")
KEY = "0123456789abcdef0123456789abcdef01234567"

pytestmark = pytest.mark.usefixtures("ending_hub")


class Growth:
    """How much a sample has grown since this was made. A sample that nobody has counted yet is at 0."""

    def __init__(self, name: str, **labels: object) -> None:
        self._name, self._labels = name, {label: str(value) for label, value in labels.items()}
        self._before = self._now()

    def _now(self) -> float:
        return REGISTRY.get_sample_value(self._name, self._labels) or 0.0

    def __call__(self) -> float:
        return self._now() - self._before


def outcome(name: str) -> Growth:
    return Growth("pubsub_published_total", dialect=FRONT.dialect, front=FRONT.name, outcome=name)


def draft(key: str = "", payload: str = "{}") -> Draft:
    return Draft(payload, MANAGER.author_json, idempotency_key=key, front=FRONT)


async def take(subscriber: Subscriber, count: int) -> list[int]:
    """The ids of the next `count` messages."""
    ids: list[int] = []
    async with asyncio.timeout(10):
        while len(ids) < count:
            ids += [message.id for message in await subscriber.next() if isinstance(message, Message)]
    return ids


def test_each_publish_is_counted_by_what_became_of_it(channel):
    grown = {name: outcome(name) for name in ("stored", "duplicate", Conflict.code, PermissionDenied.code)}
    answered = Growth("pubsub_publish_seconds_count")
    publishing.publish(MANAGER, channel, draft())
    publishing.publish(MANAGER, channel, draft("key"))
    publishing.publish(MANAGER, channel, draft("key"))
    with pytest.raises(Conflict):
        publishing.publish(MANAGER, channel, draft("key", '{"other":1}'))
    with pytest.raises(PermissionDenied):
        publishing.publish(ANONYMOUS, channel, draft())
    assert {name: growth() for name, growth in grown.items()} == {
        "stored": 2,
        "duplicate": 1,
        Conflict.code: 1,
        PermissionDenied.code: 1,
    }
    assert answered() == 5


def test_a_transaction_is_counted_with_its_messages(channel):
    transactions, messages = Growth("pubsub_commit_seconds_count"), Growth("pubsub_commit_messages_sum")
    publishing.append_each([log.Entry(channel.id, draft())] * 7)
    assert (transactions(), messages()) == (1, 7)


async def test_live_connections_and_what_they_were_given_are_counted_by_transport(channel):
    labels = {"dialect": FRONT.dialect, "transport": FRONT.name}
    live, delivered = Growth("pubsub_subscribers", **labels), Growth("pubsub_delivered_total", **labels)
    async with hub.subscribe(channel.id, "", front=FRONT) as subscriber:
        assert live() == 1
        await apublish_many(channel, 3)
        await take(subscriber, 3)
    assert (live(), delivered()) == (0, 3)


async def test_a_reader_of_a_channel_that_is_gone_is_not_counted_as_live(channel):
    live = Growth("pubsub_subscribers", dialect=FRONT.dialect, transport=FRONT.name)
    with pytest.raises(Exception, match=r"Not found"):
        async with hub.subscribe(0, "", front=FRONT):
            raise AssertionError("nothing is there to read")
    assert live() == 0


async def test_a_close_is_counted_and_logged_with_the_keys_first_digits_only(channel, caplog):
    closed = Growth("pubsub_closes_total", dialect=FRONT.dialect, transport=FRONT.name, code=REVOKED.code)
    access = Access(Credentials.of(KEY), channel, as_of=0)
    with caplog.at_level("INFO"):
        async with hub.subscribe(channel.id, "", access=access, front=FRONT) as subscriber:
            subscriber.close(REVOKED)
            with pytest.raises(SubscriberClosed):
                await subscriber.next()
    assert closed() == 1
    (line,) = [record for record in caplog.records if record.name == hub.__name__]
    told = vars(line)
    assert (told["code"], told["transport"], told["instance"], told["channel"]) == (4003, "front", "rivia", channel.name)
    assert told["key"] == KEY[:8]
    assert "code=4003" in line.getMessage()
    assert KEY[:9] not in line.getMessage()


async def test_who_joined_and_left_is_counted_as_closed_or_hung_up(channel):
    labels = {"dialect": FRONT.dialect, "transport": FRONT.name}
    gone, closed = (Growth("pubsub_closes_total", code=code, **labels) for code in ("client", REVOKED.code))
    live = Growth("pubsub_subscribers", **labels)
    one, other = await hub.join(channel.id, "", front=FRONT), await hub.join(channel.id, "", front=FRONT)
    assert live() == 2
    one.close(REVOKED)
    hub.leave(one)
    hub.leave(other)
    assert (live(), gone(), closed()) == (0, 1, 1)


async def test_a_client_that_hangs_up_is_counted_apart_and_leaves_no_line(channel, caplog):
    gone = Growth("pubsub_closes_total", dialect=FRONT.dialect, transport=FRONT.name, code="client")
    joined = asyncio.Event()

    async def listen() -> None:
        async with hub.subscribe(channel.id, "", front=FRONT) as subscriber:
            joined.set()
            await subscriber.next()

    with caplog.at_level("INFO"):
        listening = asyncio.create_task(listen())
        await joined.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert gone() == 1
    assert caplog.messages == []


async def test_a_subscriber_that_is_too_slow_is_counted(channel):
    slow = Growth("pubsub_slow_fallbacks_total")
    with override_settings(PUBSUB={"SUBSCRIBER_BYTES": 500}):
        async with hub.subscribe(channel.id, "") as subscriber:
            await apublish_many(channel, 5)
            assert await take(subscriber, 5) == [1, 2, 3, 4, 5]
    assert slow() == 1


async def test_a_hint_that_left_something_out_makes_a_filled_gap(channel):
    filled = Growth("pubsub_gaps_filled_total")
    async with hub.subscribe(channel.id, "") as subscriber:
        entry = log.Entry(channel.id, draft())
        (receipt,) = await sync_to_async(log.append)([entry])
        assert await take(subscriber, 1) == [1]
        assert filled() == 0, "the hint had the message"
        notifier.announce([StreamAdvanced(channel.id, subscriber.epoch, {"": receipt.message.id + 1})])
        await apublish(channel)
        assert await take(subscriber, 1) == [2]
    assert filled() == 1


async def test_a_notice_that_something_is_gone_is_counted_with_its_reason(channel):
    await apublish_many(channel, 3)
    await sync_to_async(log.trim)(channel.id, older_than=None, keep=1, limit=10)
    told = Growth("pubsub_gap_notices_total", reason="trimmed")
    async with hub.subscribe(channel.id, "", after=Position(0)) as subscriber:
        assert isinstance((await subscriber.next())[0], Gap)
    assert told() == 1


def test_the_rows_that_retention_removes_are_counted(channel):
    publish_many(channel, 5)
    removed = Growth("pubsub_retention_rows_total", kind="message")
    with override_settings(PUBSUB={"RETENTION_COUNT": 2}):
        assert retention.sweep().messages == 3
    assert removed() == 3


def test_no_label_names_a_tenant(channel):
    publish(channel)
    text = generate_latest(REGISTRY).decode()
    assert "rivia" not in text
    assert channel.name not in text


def test_what_can_happen_is_there_before_it_happens():
    for event in ("sent", "received", "failed", "missed"):
        assert REGISTRY.get_sample_value("pubsub_hints_total", {"event": event}) is not None
    assert metrics.readers(FRONT) is metrics.readers(Front("tests", "front"))
