"""Requests to others: they arrive, or are tried again, or are dropped; nobody waits for them, and they go nowhere private."""

import asyncio
import functools
import logging
import socket
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from django.test import AsyncClient
from prometheus_client import REGISTRY

from channels_app.core import addresses, delivery
from channels_app.core.delivery import Delivery
from tests.backends import free_port
from tests.receiver import Receiver, receiving

OUTCOMES = ("delivered", "retried", "dropped")
LOOPBACK = "127.0.0.0/8,::1/128"


def to(receiver: Receiver, path: str = "/hook", *, host: str = "127.0.0.1", owner: str = "instance 1") -> Delivery:
    return Delivery(receiver.url(path, host), b"a=1", {"X-Signature": "s"}, owner)


@pytest.fixture
async def receiver(settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_NETWORKS": LOOPBACK}
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 0.0)
    async with receiving() as receiver:
        yield receiver
        receiver.held.set()
        await delivery.close(0)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "channels_app")


async def sent(*deliveries: Delivery) -> None:
    for each in deliveries:
        delivery.send(each)
    await delivery.close(30)


# Trying


async def test_it_arrives_as_it_was_given(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    await sent(to(receiver, "/hook?token=t"))
    [(path, body, headers)] = receiver.requests
    assert (path, body, headers["X-Signature"]) == ("/hook?token=t", b"a=1", "s")
    assert caplog.records == []


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_it_is_tried_again_after_a_trouble_that_may_pass(receiver: Receiver, status: int) -> None:
    receiver.answers = [status, status]
    await sent(to(receiver))
    assert len(receiver.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
async def test_it_is_not_tried_again_after_a_clear_answer(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    receiver.answers = [status]
    await sent(to(receiver))
    assert receiver.paths == ["/hook"]  # nor is a redirect followed
    assert caplog.messages == [f"A request to 127.0.0.1 for instance 1 was dropped: the answer was {status}"]


async def test_it_is_given_up_at_last(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.answers = [500] * 10
    await sent(to(receiver, "/hook?token=secret"))
    assert len(receiver.requests) == 5
    assert caplog.messages == ["A request to 127.0.0.1 for instance 1 was dropped: the answer was 500"]


async def test_a_server_that_is_not_there_is_tried_and_given_up(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    await sent(Delivery(f"http://127.0.0.1:{free_port()}/", b"", {}, "instance 1"))
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "url", ["", "nothing", "http://", "ftp://127.0.0.1/", "http://[::1", "http://a b/", "http://127.0.0.1:99999/"]
)
async def test_an_address_that_is_none_is_dropped(receiver: Receiver, caplog: pytest.LogCaptureFixture, url: str) -> None:
    await sent(Delivery(url, b"", {}, "instance 1"))
    assert len(caplog.messages) == 1
    assert "Traceback" not in caplog.text


async def test_the_log_has_no_secret_of_an_address_and_nothing_that_a_receiver_says(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GARBAGE\r\nERROR a line of its own\r\n\r\n")
        writer.close()

    settings.PUBSUB = {**settings.PUBSUB, "PUSH_NETWORKS": LOOPBACK, "PUSH_ATTEMPTS": "1"}
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await sent(Delivery(f"http://user:secret@127.0.0.1:{port}/secret?sig=secret", b"", {}, "instance 1"))
    assert caplog.messages == ["A request to 127.0.0.1 for instance 1 was dropped: ClientResponseError"]


async def test_what_became_of_them_is_counted(receiver: Receiver) -> None:
    def counted() -> list[float]:
        values = [REGISTRY.get_sample_value("pubsub_pushes_total", {"outcome": outcome}) for outcome in OUTCOMES]
        return [value or 0 for value in values]

    before = counted()
    receiver.answers = [500, 200, 404]
    await sent(to(receiver))
    await sent(to(receiver))
    assert [after - count for after, count in zip(counted(), before, strict=True)] == [1, 1, 1]


# Waiting


async def test_a_receiver_that_does_not_answer_delays_nobody(receiver: Receiver) -> None:
    receiver.held.clear()
    delivery.send(to(receiver, "/slow"))
    await receiver.arrived.wait()
    assert receiver.paths == ["/slow"]


async def test_an_attempt_takes_only_so_long(receiver: Receiver, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_TIMEOUT": "0.05", "PUSH_ATTEMPTS": "2"}
    receiver.held.clear()
    await sent(to(receiver))
    assert len(receiver.requests) == 2
    assert len(caplog.messages) == 1


async def test_one_owners_dead_receiver_does_not_fill_the_queue_for_the_others(
    receiver: Receiver, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_QUEUE": "25"}
    receiver.held.clear()
    for number in range(8):
        delivery.send(to(receiver, f"/{number}"))
    delivery.send(to(receiver, "/other", owner="instance 2"))
    assert caplog.messages == ["A request to 127.0.0.1 for instance 1 was dropped: too many are waiting"]
    receiver.held.set()
    await delivery.close(30)
    assert sorted(receiver.paths) == ["/0", "/1", "/2", "/3", "/4", "/other"]


async def test_one_owners_dead_receivers_do_not_take_all_connections(
    receiver: Receiver, names: "NameServer", settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_NETWORKS": "127.0.0.0/8", "PUSH_TIMEOUT": "1", "PUSH_ATTEMPTS": "1"}
    monkeypatch.setattr(delivery, "CONNECTIONS", 4)
    names.held.set()
    receiver.held.clear()
    for number in range(4):
        delivery.send(to(receiver, f"/{number}", host=f"{number}.test"))
    await receiver.arrived.wait()
    delivery.send(to(receiver, "/other", owner="instance 2"))
    await delivery.close(0.5)
    assert receiver.paths == ["/0", "/other"]


async def test_many_that_are_dropped_are_told_in_two_lines(
    receiver: Receiver, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_QUEUE": "0"}
    for owner in ("instance 1", "instance 2"):
        for _ in range(100):
            delivery.send(to(receiver, owner=owner))
    await delivery.close(0)
    assert caplog.messages == [
        "A request to 127.0.0.1 for instance 1 was dropped: too many are waiting",
        "A request to 127.0.0.1 for instance 2 was dropped: too many are waiting",
        "99 more requests for instance 1 were dropped",
        "99 more requests for instance 2 were dropped",
    ]


async def test_what_was_delivered_makes_room(receiver: Receiver, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_QUEUE": "1"}
    for number in range(3):
        await sent(to(receiver, f"/{number}"))
    assert receiver.paths == ["/0", "/1", "/2"]
    assert caplog.messages == []


async def test_what_is_late_when_the_server_ends_is_dropped_and_told(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.held.clear()
    delivery.send(to(receiver))
    await receiver.arrived.wait()
    await delivery.close(0.01)
    assert caplog.messages == ["A request to 127.0.0.1 for instance 1 was dropped: the server is ending"]


async def test_what_pauses_before_it_is_sent_goes_out_when_the_server_ends(receiver: Receiver) -> None:
    async def work() -> None:
        await delivery.pause(1000)
        delivery.send(to(receiver))

    delivery.prepare(work())
    await delivery.close(10)
    assert receiver.paths == ["/hook"]


async def test_a_pause_lasts_as_long_as_it_should(receiver: Receiver) -> None:
    began = time.monotonic()
    await delivery.pause(0.05)
    assert time.monotonic() - began >= 0.05


async def test_what_is_not_ready_when_the_server_ends_is_counted_and_told(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    before = REGISTRY.get_sample_value("pubsub_pushes_total", {"outcome": "dropped"}) or 0
    for _ in range(3):
        delivery.prepare(asyncio.sleep(1000))
    await delivery.close(0.01)
    assert caplog.messages == ["3 requests were dropped before they were made: the server is ending"]
    assert REGISTRY.get_sample_value("pubsub_pushes_total", {"outcome": "dropped"}) == before + 3


# Names


class NameServer(asyncio.DatagramProtocol):
    """Of names that end in ".test", which are this machine's. It tells nobody while `held` is clear. `asked` is what it was."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.held = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, query: bytes, client: Any) -> None:
        """RFC 1035 §4: one question, and one answer if it is for an IPv4 address."""
        end = query.index(b"\0", 12) + 5
        name, kind = query[12 : end - 5], int.from_bytes(query[end - 4 : end - 2])
        self.asked.add(name.decode("latin-1"))
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton("127.0.0.1") if kind == 1 else b""
        if self.held.is_set():
            counts = b"\0\1" + len(answer[:1]).to_bytes(2) + b"\0\0\0\0"
            self._transport.sendto(query[:2] + b"\x81\x80" + counts + query[12:end] + answer, client)

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.asked) < count:  # noqa: ASYNC110  (a name is asked for twice: an event would come too early)
                await asyncio.sleep(0.01)


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServer]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    here = {"nameservers": ["127.0.0.1"], "udp_port": transport.get_extra_info("sockname")[1]}
    monkeypatch.setattr(aiohttp, "AsyncResolver", functools.partial(aiohttp.AsyncResolver, **here))
    yield server
    transport.close()


async def test_a_name_server_that_does_not_answer_delays_no_answer_of_ours(
    receiver: Receiver, names: NameServer, transactional_db: None
) -> None:
    for number in range(40):  # more than the event loop's default executor has threads
        delivery.send(to(receiver, host=f"{number}.test", owner=f"instance {number}"))
    await names.wait_for(40)
    async with asyncio.timeout(10):
        assert (await AsyncClient().get("/v1/Services")).status_code == 401  # Django logs it in a thread


async def test_one_owners_name_server_delays_nobody_elses(receiver: Receiver, names: NameServer, settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_TIMEOUT": "60"}
    for number in range(2 * delivery.CONNECTIONS):
        delivery.send(to(receiver, host=f"{number}.test"))
    await names.wait_for(delivery.CONNECTIONS // delivery.OWNERS_SHARE)
    delivery.send(to(receiver, "/other", host="localhost", owner="instance 2"))
    async with asyncio.timeout(10):
        await receiver.arrived.wait()
    assert receiver.paths == ["/other"]
    assert len(names.asked) == delivery.CONNECTIONS // delivery.OWNERS_SHARE


async def test_a_name_that_leads_to_a_private_address_is_refused_at_the_socket(
    receiver: Receiver, names: NameServer, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_NETWORKS": ""}
    names.held.set()
    await sent(to(receiver, host="inside.test"))
    assert (receiver.requests, names.asked) == ([], {"\x06inside\x04test"})
    assert caplog.messages == [
        "A request to inside.test for instance 1 was dropped: its address is not public, and not in PUBSUB_PUSH_NETWORKS"
    ]


# Where to

PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254"),
    *("192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::1", "2002:7f00:1::"),
]
PUBLIC = ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused(address: str) -> None:
    assert not addresses.may_connect(address, [])


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not(address: str) -> None:
    assert addresses.may_connect(address, [])


@pytest.mark.parametrize(
    ("address", "allowed", "expected"),
    [
        ("127.0.0.1", ["127.0.0.0/8"], True),
        ("::ffff:127.0.0.1", ["127.0.0.0/8"], True),
        ("::1", ["127.0.0.0/8"], False),
        ("10.1.2.3", ["127.0.0.0/8", "10.0.0.0/8"], True),
        ("169.254.169.254", ["10.0.0.0/8"], False),
        ("fd00::1", ["fd00::/8"], True),
    ],
)
def test_an_operator_may_allow_networks(address: str, allowed: Sequence[str], expected: bool) -> None:
    assert addresses.may_connect(address, addresses.networks(allowed)) is expected


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::ffff:127.0.0.1]", "[::1]", "[::]"]
)
async def test_no_spelling_of_this_machine_gets_through(
    receiver: Receiver, settings: Any, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "PUSH_NETWORKS": ""}
    await sent(to(receiver, host=host))
    assert receiver.requests == []
    assert len(caplog.messages) == 1
    assert "was dropped" in caplog.text
