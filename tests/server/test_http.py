"""The short way of publishing, over one connection: however its bytes arrive, they mean what uvicorn's parser makes of them."""

import asyncio
import gc
import itertools
import json
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.asgi import get_asgi_application
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from channels_app.core import log, publishing, tenancy
from channels_app.dialects.syncano.express import PublishClaim
from channels_app.models import ApiKey, Channel
from channels_app.server import express, http
from channels_app.server.application import BodyLimit
from channels_app.server.express import ExpressLane
from tests.contracts.fronts import Connection, raw, read

pytestmark = pytest.mark.skipif(not publishing.conf.GROUP_COMMIT, reason="without group commit there is no short way")

LOBBY, HALLS = (f"/v1.1/instances/rivia/channels/{name}/publish/" for name in ("lobby", "halls"))
HISTORY = "/v1.1/instances/rivia/channels/lobby/history/"


@pytest.fixture
def key(transactional_db) -> str:
    owner = get_user_model().objects.create_user("geralt", "geralt@rivia.example", "a-good-password")
    instance = tenancy.create_instance(owner=owner, name="rivia")
    for name in ("lobby", "halls"):
        tenancy.create_channel(instance, name=name, custom_publish=True)
    return tenancy.create_api_key(instance, ignore_acl=True)[1].text


@pytest.fixture
def config() -> uvicorn.Config:
    application = ExpressLane(BodyLimit(get_asgi_application()))
    config = uvicorn.Config(application, log_config=None, ws="none", lifespan="off")
    config.load()
    return config


@pytest.fixture
def short(monkeypatch) -> list[bool]:
    """Whether each of the publishes that were looked at went the short way."""
    begun: list[bool] = []
    begin = express.begin
    monkeypatch.setattr(express, "begin", lambda *arguments: begun.append(begin(*arguments)) or begun[-1])
    return begun


@pytest.fixture
async def connection(config, key, short) -> Connection:
    """A connection that has published once, and may do so again."""
    connection = Connection(config)
    assert (await connection.ask(LOBBY, publish(key, 0))).status_code == 201
    short.clear()
    return connection


def publish(key: str, number: object, **headers: str) -> dict[str, Any]:
    content = json.dumps({"payload": {"n": number}}).encode()
    return {"content": content, "headers": {"X-API-KEY": key, "Content-Type": "application/json", **headers}}


async def stored(channel: str = "lobby") -> list[object]:
    row = await Channel.objects.aget(name=channel, instance__name="rivia")
    messages = await sync_to_async(log.read_after)(row.pk, None, 0, 1000)
    return [json.loads(message.payload)["n"] for message in messages]


def answers(written: bytes) -> list[bytes]:
    """The status of each answer that was written."""
    return [part[:3] for part in written.split(b"HTTP/1.1 ")[1:]]


async def settled(connection: Connection, count: int) -> list[bytes]:
    await until(lambda: len(answers(connection.written)) >= count and connection.protocol.cycle.response_complete)
    return answers(connection.written)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (a transport that is written to has no event)
            await asyncio.sleep(0.001)


async def until_stored(*numbers: object) -> None:
    async with asyncio.timeout(10):
        while await stored() != [*numbers]:
            pass


# The same request again


async def test_bodies_of_all_lengths_go_the_short_way(connection, key, short):
    numbers = [7, 12345, "x" * 200, 1, "x" * 2_000]
    for number in numbers:
        assert (await connection.ask(LOBBY, publish(key, number))).status_code == 201
    assert await stored() == [0, *numbers]
    assert short == [True] * 5


async def test_a_request_that_is_another_is_taken_for_what_it_is(connection, key):
    assert (await connection.ask(HALLS, publish(key, 1))).status_code == 201
    assert (await connection.ask(LOBBY, publish(key[:-1] + "x", 2))).status_code == 403
    with_origin = await connection.ask(LOBBY, publish(key, 3, Origin="https://a.example"))
    without = await connection.ask(LOBBY, publish(key, 4))
    assert [each.headers.get("access-control-allow-origin") for each in (with_origin, without)] == ["*", None]
    connection.protocol.data_received(raw(HISTORY, headers={"X-API-KEY": key}).replace(b"POST", b"GET", 1))
    assert len((await connection.answer()).json()["objects"]) == 3
    assert (await connection.ask(LOBBY, publish(key, 5))).status_code == 201
    assert (await stored(), await stored("halls")) == ([0, 3, 4, 5], [1])


async def test_a_body_that_is_bad_is_refused(connection, key):
    for content in (b'{"payload": {"n": NaN}}', b'{"payload": [1]}', b"{"):
        assert (await connection.ask(LOBBY, {**publish(key, 1), "content": content})).status_code == 400
    assert (await connection.ask(LOBBY, publish(key, 2))).status_code == 201
    assert await stored() == [0, 2]


async def test_a_key_that_was_revoked_is_refused(connection, key):
    await sync_to_async(tenancy.revoke_api_key)(await ApiKey.objects.aget())
    assert (await connection.ask(LOBBY, publish(key, 1))).status_code == 403


async def test_a_body_may_not_grow_over_the_limit(connection, key):
    assert (await connection.ask(LOBBY, publish(key, "x" * 65_514))).status_code == 201
    assert (await connection.ask(LOBBY, publish(key, "x" * 65_515))).status_code == 413


@pytest.mark.parametrize("length", [b"+21", b"2_1", b"0x15", b"-21", b"", b"9" * 5_000, b"21, 21", b"\xb2"])
async def test_a_length_that_is_none_is_refused_as_by_uvicorn(connection, key, length):
    request = raw(LOBBY, **publish(key, 1))
    connection.protocol.data_received(request.replace(b"21\r\n", length + b"\r\n"))
    await until(lambda: connection.is_closed)
    assert (connection.written[:12], await stored()) == (b"HTTP/1.1 400", [0])


async def test_a_length_with_thousands_of_zeros_is_a_length(connection, key):
    request = raw(LOBBY, **publish(key, 2)).replace(b"21\r\n", b"0" * 5_000 + b"21\r\n")
    for data in (raw(LOBBY, **publish(key, 1)), request[:-1], request[-1:]):  # its head waits behind an answer
        connection.protocol.data_received(data)
        await asyncio.sleep(0)
    assert await settled(connection, 2) == [b"201"] * 2
    assert await stored() == [0, 1, 2]


# Pieces


async def test_requests_in_one_piece_are_answered_in_order(connection, key):
    connection.protocol.data_received(b"".join(raw(LOBBY, **publish(key, number)) for number in range(1, 5)))
    assert await settled(connection, 4) == [b"201"] * 4
    assert await stored() == [0, 1, 2, 3, 4]


async def test_requests_that_do_not_wait_for_answers_are_answered_in_order(connection, key):
    for number in range(1, 5):
        connection.protocol.data_received(raw(LOBBY, **publish(key, number)))
    assert await settled(connection, 4) == [b"201"] * 4
    assert await stored() == [0, 1, 2, 3, 4]
    assert not connection.is_reading_paused


async def test_a_body_larger_than_what_uvicorn_holds_is_read_to_its_end(config, key, settings):
    settings.PUBSUB = {**settings.PUBSUB, "SYNCANO_MAX_BODY": "400000"}
    connection, request = Connection(config), raw(LOBBY, **publish(key, "x" * 300_000))
    for start in range(0, len(request), 50_000):
        connection.protocol.data_received(request[start : start + 50_000])
        assert not connection.is_reading_paused
    assert (await connection.answer()).status_code == 201


def test_however_the_bytes_arrive_they_mean_the_same(config, key, transactional_db):
    heads = [(LOBBY, {}), (LOBBY, {"X-Other": "1"}), (HALLS, {})]
    requests = st.lists(st.tuples(st.sampled_from(heads), st.integers(0, 10**12)), min_size=1, max_size=6)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(requests=requests, cuts=st.sets(st.integers(1, 1500), max_size=8))
    def send(requests, cuts):
        data = b"".join(raw(path, **publish(key, number, **headers)) for (path, headers), number in requests)
        pieces = [
            data[start:end] for start, end in itertools.pairwise(sorted({0, len(data), *(c for c in cuts if c < len(data))}))
        ]
        told = [asyncio.run(talk(config, protocol, pieces, len(requests))) for protocol in (HttpToolsProtocol, None)]
        assert told[0] == told[1]

    send()


async def talk(config: uvicorn.Config, protocol: Any, pieces: list[bytes], count: int) -> tuple[list[bytes], list[Any]]:
    """What is answered, and what was stored by it."""
    before = {name: len(await stored(name)) for name in ("lobby", "halls")}
    connection = Connection(config, protocol or http.PubSubHttpProtocol)
    for piece in pieces:
        if not connection.is_closed:
            connection.protocol.data_received(piece)
            await asyncio.sleep(0)
    statuses = await settled(connection, count)
    return statuses, [(await stored(name))[length:] for name, length in before.items()]


# Ends


async def test_who_has_left_is_written_nothing(connection, key):
    connection.protocol.data_received(raw(LOBBY, **publish(key, 1)))
    connection.close()
    connection.protocol.connection_lost(None)
    await until_stored(0, 1)
    assert connection.written == b""


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_nothing_holds_what_a_lost_connection_was(connection, key, error, settings):
    settings.PUBSUB = {**settings.PUBSUB, "PUBLISH_TIMEOUT": 1.0}  # for so long the lane keeps a list of who waits
    for number in (1, 2, 3):
        await connection.ask(LOBBY, publish(key, number))
    connection.protocol.data_received(raw(LOBBY, **publish(key, 4)))
    timer, protocol = connection.protocol.timeout_keep_alive_task, weakref.ref(connection.protocol)
    connection.close()
    gc.disable()  # nor does it wait for the collector
    try:
        connection.protocol.connection_lost(error)
        connection.protocol = None
        await until_stored(0, 1, 2, 3, 4)
        publishing.close_lanes()
        await until(lambda: protocol() is None)
    finally:
        gc.enable()
    assert timer.cancelled()


async def test_a_connection_that_waits_holds_no_body(connection, key):
    for _ in range(2):
        await connection.ask(LOBBY, publish(key, "x" * 60_000))
        assert not connection.protocol.cycle.body


async def test_a_server_that_ends_answers_first(connection, key):
    connection.protocol.data_received(raw(LOBBY, **publish(key, 1)))
    connection.protocol.shutdown()
    assert not connection.is_closed
    answer = await connection.answer()
    assert (answer.status_code, answer.headers["connection"], connection.is_closed) == (201, "close", True)


async def test_a_connection_is_closed_when_it_has_been_quiet_for_long(connection, key):
    protocol, clock = connection.protocol, asyncio.get_running_loop().time
    protocol.timeout_keep_alive = 75
    for quiet in (0, 74):
        protocol._answered_at = clock() - quiet
        protocol.timeout_keep_alive_handler()
        assert not connection.is_closed
    connection.protocol.data_received(raw(LOBBY, **publish(key, 1)))
    protocol._answered_at = clock() - 100
    protocol.timeout_keep_alive_handler()
    assert not connection.is_closed, "it waits for its answer"
    await connection.answer()
    protocol._answered_at = clock() - 76
    protocol.timeout_keep_alive_handler()
    assert connection.is_closed


async def test_who_does_not_read_answers_goes_uvicorns_way_which_waits(connection, key, short):
    connection.protocol.pause_writing()
    connection.protocol.data_received(raw(LOBBY, **publish(key, 1)))
    await until_stored(0, 1)
    assert (connection.written, short) == (b"", [])
    connection.protocol.resume_writing()
    assert (await connection.answer()).status_code == 201


async def test_a_defect_is_answered_and_logged(connection, key, monkeypatch, caplog):
    monkeypatch.setattr(PublishClaim, "accept", lambda *_: 1 / 0)
    answer = await connection.ask(LOBBY, publish(key, 1))
    assert (answer.status_code, connection.is_closed) == (500, True)
    assert "ZeroDivisionError" in caplog.text


async def test_a_defect_behind_an_answer_is_no_second_answer(connection, key, monkeypatch, caplog):
    monkeypatch.setattr(connection.protocol, "on_response_complete", lambda: 1 / 0)
    connection.protocol.data_received(raw(LOBBY, **publish(key, 1)))
    await until(lambda: "ZeroDivisionError" in caplog.text)
    assert answers(connection.written) == [b"201"]


# Heads have limits


LONG = b"GET / HTTP/1.1\r\nhost: test\r\nx-long: " + b"x" * 1_000


@pytest.mark.parametrize("more", [b"x" * 50_000, b"\r\nx-more: " + b"x" * 50_000], ids=["a line", "lines"])
async def test_a_head_that_does_not_end_is_refused(config, more):
    connection = Connection(config)
    for piece in (LONG, more):
        connection.protocol.data_received(piece)
    assert not connection.is_closed
    connection.protocol.data_received(more)
    assert connection.is_closed
    answer = read(connection.written)
    assert (answer.status_code, answer.text) == (431, "The head of the request has more than 65536 bytes.")


async def test_what_is_around_a_body_is_limited_as_well(config, key):
    connection = Connection(config)
    connection.protocol.data_received(b"POST /livez HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
    connection.protocol.data_received(b"2\r\n{}\r\n0\r\n")
    for _ in range(2):
        connection.protocol.data_received(b"x-trailer: " + b"x" * 40_000)
    assert connection.is_closed


async def test_a_long_body_is_no_long_head(connection, key):
    head, _, body = raw(HISTORY, **publish(key, "x" * 60_000)).partition(b"\r\n\r\n")
    connection.protocol.data_received(head + b"\r\n\r\n")
    for start in range(0, len(body), 10_000):
        connection.protocol.data_received(body[start : start + 10_000])
    assert (await connection.answer()).status_code == 405
    for _ in range(3):
        assert (await connection.ask(HISTORY, publish(key, "x" * 40_000))).status_code == 405


@pytest.mark.parametrize("begun", [b"", b"GET / HT"], ids=["not begun", "begun"])
async def test_a_head_that_does_not_come_is_not_waited_for_for_ever(config, settings, begun):
    settings.PUBSUB = {"HEAD_TIMEOUT": 0.01}
    connection = Connection(config)
    if begun:
        connection.protocol.data_received(begun)
    await until(lambda: connection.is_closed)


async def test_nor_is_that_of_a_later_request(connection, settings):
    settings.PUBSUB = {"HEAD_TIMEOUT": 0.01}
    connection.protocol.data_received(b"GET / HT")
    await until(lambda: connection.is_closed)


async def test_a_connection_whose_head_has_come_may_take_its_time(config, settings):
    settings.PUBSUB = {"HEAD_TIMEOUT": 0.01}
    connection = Connection(config)
    connection.protocol.data_received(b"POST /livez HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\n")
    await asyncio.sleep(0.05)
    assert not connection.is_closed
