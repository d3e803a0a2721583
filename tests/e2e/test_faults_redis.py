"""Redis carries hints and nothing else: without it publishes go on, and are delivered within the safety poll (laws 1 and 5)."""

import asyncio
import os
from collections.abc import Callable

import httpx
import pytest

from tests.backends import Backend

from .deployment import Deployment, Server, channel_path
from .redis_server import Redis
from .swarm import Swarm

TORTURE = bool(os.environ.get("PUBSUB_TORTURE"))
FOLLOWERS = 200 if TORTURE else 20
PUBLISHERS = 8
PUBLISHES = 2_000 if TORTURE else 600
DELAY = 5.0  # seconds: the safety poll's one, and leeway for a busy machine

pytestmark = pytest.mark.timeout(300 if TORTURE else 60)


@pytest.fixture(autouse=True)
def _several_processes(backend: Backend) -> None:
    if not backend.several_processes:
        pytest.skip("one process is all there is on SQLite")


def start(deployment: Deployment, redis: Redis) -> Server:
    """Two processes, so that half of the messages come from the other one."""
    unlimited = {"PUBSUB_ANONYMOUS_RATE": "", "PUBSUB_FAILED_POLL_RATE": ""}
    return deployment.start("uvicorn", "--workers", "2", **unlimited, REDIS_URL=redis.url, PUBSUB_DRAIN_SECONDS="1")


def swarm_on(server: Server, credentials: dict[str, str]) -> Swarm:
    return Swarm(server, credentials["api_key"], channel_path(credentials["instance"], "lobby"))


def figures(swarm: Swarm) -> str:
    delays = swarm.delays
    line = (
        f"{swarm.tally()}; answers {swarm.statuses}, sockets closed {swarm.close_codes},"
        f" heard after {delays[len(delays) * 99 // 100]:.2f} s (99 %), {delays[-1]:.2f} s at most"
    )
    assert swarm.statuses.keys() == {201}, f"publishes do not need Redis: {line}"
    assert not swarm.close_codes, line
    assert delays[-1] <= DELAY, line
    return line


async def readiness(server: Server, expected: str) -> None:
    """Wait until every process says so at /readyz: ten answers in a row, each on a connection of its own."""
    agreed = 0
    async with asyncio.timeout(30):
        while agreed < 10:
            async with httpx.AsyncClient(base_url=server.url) as client:
                answer = await client.get("/readyz")
            assert answer.status_code == 200
            agreed = agreed + 1 if answer.json()["status"] == expected else 0


@pytest.mark.parametrize(
    ("go", "come_back"),
    [pytest.param(Redis.kill, Redis.start, id="killed"), pytest.param(Redis.stop_answering, Redis.answer_again, id="hung")],
)
async def test_redis_may_go_and_come_back(
    deployment: Deployment,
    credentials: dict[str, str],
    redis: Redis,
    go: Callable[[Redis], None],
    come_back: Callable[[Redis], None],
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
):
    server = start(deployment, redis)
    swarm = swarm_on(server, credentials)
    async with swarm.following(FOLLOWERS):
        async with swarm.publishing(PUBLISHERS):
            await swarm.acknowledged(PUBLISHES // 3)
            go(redis)
            await swarm.acknowledged(PUBLISHES // 3)
            await readiness(server, "degraded")
            come_back(redis)
            await readiness(server, "ready")
            await swarm.acknowledged(PUBLISHES // 3)
        await swarm.caught_up()
    with capsys.disabled():
        print(f"\n  Redis {request.node.callspec.id} and back again: {figures(swarm)}")
    assert server.log().count("A hint to other processes was lost") < 20, "a line now and then, not one for each"


async def test_redis_may_be_away_throughout(
    deployment: Deployment, credentials: dict[str, str], redis: Redis, capsys: pytest.CaptureFixture[str]
):
    redis.kill()
    server = start(deployment, redis)
    await readiness(server, "degraded")
    swarm = swarm_on(server, credentials)
    async with swarm.following(FOLLOWERS):
        async with swarm.publishing(1):  # on one of the two: followers of the other have nothing but the safety poll
            await swarm.acknowledged(PUBLISHES)
        await swarm.caught_up()
    with capsys.disabled():
        print(f"\n  Redis away throughout: {figures(swarm)}")
