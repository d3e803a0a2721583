"""Many clients at a bad moment: a restart that sends them all away, one that never reads, all coming back at once."""

import asyncio
import json
import os
import resource
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest
import websockets.sync.client

from channels_app.core.types import RESTARTING

from .deployment import Deployment, Server, channel_path
from .swarm import Follower, Publisher, Swarm

TORTURE = bool(os.environ.get("PUBSUB_TORTURE"))
SOCKETS, POLLS = (1_000, 100) if TORTURE else (200, 20)
DRAIN_SECONDS = 20.0 if TORTURE else 4.0
MEGABYTES, FAST = (50, 50) if TORTURE else (10, 10)
STORM = 5_000 if TORTURE else 500
SIZE = 32_768  # bytes of a message
GROWTH = 8.0  # MB that a client which does not read may cost
QUIET = {"PUBSUB_ANONYMOUS_RATE": "", "PUBSUB_FAILED_POLL_RATE": ""}

pytestmark = pytest.mark.timeout(600 if TORTURE else 90)


@pytest.fixture(autouse=True, scope="module")
def _many_sockets() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture
def server(deployment: Deployment) -> Server:
    return deployment.start(**QUIET, PUBSUB_DRAIN_SECONDS=str(DRAIN_SECONDS))


@pytest.fixture
def swarm(server: Server, credentials: dict[str, str]) -> Swarm:
    return Swarm(server, credentials["api_key"], channel_path(credentials["instance"], "lobby"))


# A restart


@asynccontextmanager
async def polling(swarm: Swarm, count: int) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """Long polls that wait for a message."""
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(
        base_url=swarm.server.url, headers={"X-API-KEY": swarm.key}, timeout=120, limits=limits
    ) as client:
        polls = [asyncio.create_task(client.get(f"{swarm.path}poll/")) for _ in range(count)]
        yield polls
        await asyncio.gather(*polls)


async def test_a_restart_sends_everybody_away_and_loses_nothing(
    server: Server, swarm: Swarm, capsys: pytest.CaptureFixture[str]
):
    async with swarm.following(SOCKETS), polling(swarm, POLLS) as polls:
        await asyncio.to_thread(_wait_for_connections, server, SOCKETS + POLLS)
        started = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(server.terminate))
        await stopping
        took = time.monotonic() - started
        statuses = {answer.status_code for answer in await asyncio.gather(*polls)}
        ends = [at - started for follower in swarm.followers for at, _ in follower.closes]
        await asyncio.to_thread(server.start)
        await swarm.connected()
        async with swarm.publishing(4):
            await swarm.acknowledged(50)
        await swarm.caught_up()
    figures = swarm.tally()
    spread = (max(ends) - min(ends)) / DRAIN_SECONDS
    with capsys.disabled():
        print(
            f"\n  SIGTERM with {SOCKETS} sockets and {POLLS} polls, window {DRAIN_SECONDS:g} s: closed with {swarm.close_codes}"
            f" over {spread:.0%} of the window, polls {statuses}, ended after {took:.1f} s; {figures}"
        )
    assert swarm.close_codes == {RESTARTING.code: SOCKETS}
    assert statuses == {429}, "which both SDKs repeat"
    assert spread >= 0.8
    assert took <= DRAIN_SECONDS + 5


def _wait_for_connections(server: Server, count: int) -> None:
    process = psutil.Process(server.pid)
    deadline = time.monotonic() + 30
    while sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)


# A client that does not read


def silent(swarm: Swarm, last_id: int) -> socket.socket:
    """A WebSocket that is open and never read from."""
    unread = socket.socket()
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    unread.connect(("127.0.0.1", swarm.server.port))
    unread.sendall(
        f"GET {swarm.path}poll/?transport=websocket&last_id={last_id}&api_key={swarm.key} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert unread.recv(12) == b"HTTP/1.1 101"
    return unread


def resident(server: Server) -> float:
    """MB of memory that the server's process holds."""
    return psutil.Process(server.pid).memory_info().rss / 2**20


async def peak_memory(swarm: Swarm, name: str) -> float:
    """Publish so many MEGABYTES and have all followers hear them; the most memory that the server held meanwhile, in MB."""
    publishers = [Publisher(f"{name}-{n}", swarm.server, swarm.key, swarm.path) for n in range(4)]
    swarm.publishers += publishers
    count = MEGABYTES * 2**20 // len(publishers) // SIZE
    publishing = asyncio.gather(*(each.publish(asyncio.Event(), count, SIZE) for each in publishers))
    most = 0.0
    while not publishing.done():
        most = max(most, resident(swarm.server))
        await asyncio.sleep(0.02)
    await publishing
    await swarm.caught_up()
    return max(most, resident(swarm.server))


async def test_a_client_that_never_reads_costs_nobody_anything(
    server: Server, swarm: Swarm, capsys: pytest.CaptureFixture[str]
):
    async with swarm.following(FAST):
        await peak_memory(swarm, "warm-up")
        without = await peak_memory(swarm, "without")
        with silent(swarm, swarm.followers[0].last_id):
            beside = await peak_memory(swarm, "beside")
        assert not swarm.close_codes
    figures = swarm.tally()
    with capsys.disabled():
        print(
            f"\n  {MEGABYTES} MB to {FAST} clients: the server holds {without:.1f} MB at most, and {beside:.1f} MB beside one"
            f" that never reads; {figures}"
        )
    assert beside - without <= GROWTH
    newest = swarm.followers[0].last_id
    url = f"{server.url.replace('http', 'ws', 1)}{swarm.path}poll/?transport=websocket&last_id=0&api_key={swarm.key}"
    with websockets.sync.client.connect(url, max_size=None) as late:
        assert [json.loads(late.recv(timeout=30))["id"] for _ in range(newest)] == list(range(1, newest + 1))


# Everybody at once


async def test_a_storm_of_clients_that_come_back_is_weathered(swarm: Swarm, capsys: pytest.CaptureFixture[str]):
    async with swarm.following(STORM, pause=1.0):
        async with swarm.publishing(4):
            await swarm.acknowledged(50)
            await swarm.caught_up()
            started = time.monotonic()
            for follower in swarm.followers:
                follower.cut()
            await _until_connected_twice(swarm.followers)
            took = time.monotonic() - started
            await swarm.acknowledged(50)
        await swarm.caught_up()
        refusals = [status for follower in swarm.followers for status in follower.refusals]
    figures = swarm.tally()
    with capsys.disabled():
        print(f"\n  {STORM} clients cut off at once were all back after {took:.1f} s, refused {refusals}; {figures}")
    assert not refusals
    assert {answer.status for answer in swarm.answers} == {201}


async def _until_connected_twice(followers: list[Follower]) -> None:
    deadline = time.monotonic() + 120
    while not all(follower.is_connected and follower.connections > 1 for follower in followers):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
