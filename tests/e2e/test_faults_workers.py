"""`serve --workers`: processes that share an address may die; their clients lose nothing (issue "many processes")."""

import asyncio
import os
import time

import psutil
import pytest

from channels_app.core.types import RESTARTING
from tests.backends import Backend

from .deployment import Deployment, Server, channel_path
from .swarm import Swarm

TORTURE = bool(os.environ.get("PUBSUB_TORTURE"))
FOLLOWERS = 200 if TORTURE else 50
PUBLISHERS = 8
ROUNDS = 5 if TORTURE else 1
EACH = 1_000 if TORTURE else 300  # publishes before and after each kill
QUIET = {"PUBSUB_ANONYMOUS_RATE": "", "PUBSUB_FAILED_POLL_RATE": ""}

pytestmark = pytest.mark.timeout(300 if TORTURE else 60)


@pytest.fixture
def several(backend: Backend) -> None:
    if not backend.several_processes:
        pytest.skip("one process is all there is on SQLite")


@pytest.fixture
def server(several: None, deployment: Deployment) -> Server:
    return deployment.start("uvicorn", "--workers", "2", **QUIET, PUBSUB_DRAIN_SECONDS="1")


@pytest.fixture
def swarm(server: Server, credentials: dict[str, str]) -> Swarm:
    return Swarm(server, credentials["api_key"], channel_path(credentials["instance"], "lobby"))


async def workers(server: Server, count: int = 2) -> list[psutil.Process]:
    """The processes that serve, once there are so many of them."""
    deadline = time.monotonic() + 30
    while True:
        listening = [child for child in psutil.Process(server.pid).children() if _serves(child)]
        if len(listening) == count:
            return listening
        assert time.monotonic() < deadline, f"{len(listening)} of {count} workers"
        await asyncio.sleep(0.1)


def _serves(process: psutil.Process) -> bool:
    try:
        return any(each.status == psutil.CONN_LISTEN for each in process.net_connections())
    except psutil.NoSuchProcess:
        return False


def clients(process: psutil.Process, server: Server) -> int:
    return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port == server.port for each in process.net_connections())


async def test_one_of_two_workers_may_be_killed_under_load(server: Server, swarm: Swarm, capsys: pytest.CaptureFixture[str]):
    shares = []
    await workers(server)
    async with swarm.following(FOLLOWERS):
        async with swarm.publishing(PUBLISHERS):
            for _ in range(ROUNDS):
                await swarm.acknowledged(EACH)
                running = sorted(await workers(server), key=lambda each: clients(each, server))
                shares.append([clients(each, server) for each in running])
                running[-1].kill()
                await swarm.acknowledged(EACH)
                await workers(server)
        await swarm.caught_up()
    figures = swarm.tally()
    with capsys.disabled():
        print(f"\n  kill -9 of one of two workers, {ROUNDS} times (clients of each {shares}): {figures}")
    assert swarm.close_codes.get(1006), "nobody was on the worker that was killed"
    assert server.log().count("ended by itself, status -9") == ROUNDS


async def test_sigterm_drains_every_worker(server: Server, swarm: Swarm):
    running = await workers(server)
    async with swarm.following(FOLLOWERS, pause=60):
        assert all(clients(each, server) for each in running), "both have clients"
        await asyncio.to_thread(server.terminate)
        assert server.wait() == 0
        assert all(follower.closes for follower in swarm.followers)
        assert swarm.close_codes.keys() == {RESTARTING.code}
    assert not any(each.is_running() for each in running)


async def test_workers_do_not_outlive_their_supervisor(server: Server):
    running = await workers(server)
    await asyncio.to_thread(server.kill)
    gone, alive = await asyncio.to_thread(psutil.wait_procs, running, 20)
    assert len(gone) == 2
    assert not alive


def test_an_address_that_another_server_has_is_refused(server: Server, deployment: Deployment):
    refused = deployment.manage("serve", "--workers", "2", "--bind", f"127.0.0.1:{server.port}")
    assert refused.returncode == 1
    assert "Address already in use" in refused.stderr


def test_several_workers_need_postgresql_and_redis(deployment: Deployment):
    refused = deployment.manage("serve", "--workers", "2", DATABASE_URL="", REDIS_URL="")
    assert refused.returncode == 1
    for part in ("pubsub.E001", "pubsub.E002", "Set DATABASE_URL to a PostgreSQL database", "Set REDIS_URL"):
        assert part in refused.stderr
