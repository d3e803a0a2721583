"""PostgreSQL may restart, or stop answering: publishes are refused in time, live connections stay, and all is well after it."""

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from tests.backends import Backend

from .deployment import Deployment, Server, Template, channel_path
from .postgres_server import Postgres
from .swarm import Swarm

TORTURE = bool(os.environ.get("PUBSUB_TORTURE"))
FOLLOWERS = 200 if TORTURE else 20
PUBLISHERS = 16 if TORTURE else 8
AWAY_SECONDS = 15 if TORTURE else 0
STALL_SECONDS = 12 if TORTURE else 4
EACH = 1_000 if TORTURE else 200  # publishes before and after
PUBLISH_TIMEOUT = 5.0 if TORTURE else 1.0  # 5 s is the default
LEEWAY = 2.0  # for a busy machine
RECOVERY_SECONDS = 10.0
POOL = 6

pytestmark = pytest.mark.timeout(300 if TORTURE else 90)


@pytest.fixture(scope="module")
def postgres(backend: Backend) -> Postgres:
    if backend.name != "postgres":
        pytest.skip("SQLite has no server")
    return Postgres(backend.folder / "mistreated")


@pytest.fixture(scope="module")
def template(backend: Backend, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The shared one would be mistreated as well."""
    own = Backend("postgres", backend.folder, {**backend.environment, "DATABASE_URL": postgres.url}, several_processes=True)
    return Template(own, tmp_path_factory.mktemp("template"))


@pytest.fixture
def server(deployment: Deployment) -> Server:
    limits = {"PUBSUB_PUBLISH_TIMEOUT": str(PUBLISH_TIMEOUT), "DATABASE_POOL_MAX": str(POOL)}
    return deployment.start(**limits, PUBSUB_ANONYMOUS_RATE="", PUBSUB_FAILED_POLL_RATE="")


@pytest.fixture
def swarm(server: Server, credentials: dict[str, str]) -> Swarm:
    return Swarm(server, credentials["api_key"], channel_path(credentials["instance"], "lobby"))


async def check(
    swarm: Swarm, postgres: Postgres, trouble: Callable[[float], None], seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Publish before, during and after the trouble."""
    async with swarm.following(FOLLOWERS):
        async with swarm.publishing(PUBLISHERS):
            await swarm.acknowledged(EACH)
            await asyncio.to_thread(trouble, seconds)
            ended = time.monotonic()
            await swarm.acknowledged(EACH)
            connections = await asyncio.to_thread(postgres.connections)
        await swarm.caught_up()
    figures = swarm.tally()
    refused = [answer for answer in swarm.answers if answer.status not in (200, 201)]
    slowest = max(answer.seconds for answer in swarm.answers)
    recovered = max((answer.at for answer in refused), default=ended) - ended
    with capsys.disabled():
        print(
            f"\n  PostgreSQL, {trouble.__name__}({seconds}): {figures}; answers {swarm.statuses}, slowest {slowest:.1f} s,"
            f" last refusal {recovered:.1f} s after it, connections {connections}, sockets closed {swarm.close_codes}"
        )
    assert refused, "there was no trouble"
    assert {(answer.status, bool(answer.retry_after)) for answer in refused} == {(503, True)}
    assert slowest < PUBLISH_TIMEOUT + LEEWAY
    assert recovered < RECOVERY_SECONDS
    assert connections <= POOL
    assert not swarm.close_codes, "live connections stay"


async def test_a_restart_is_survived(swarm: Swarm, postgres: Postgres, capsys: pytest.CaptureFixture[str]):
    await check(swarm, postgres, postgres.restart, AWAY_SECONDS, capsys)


async def test_a_stall_is_survived(swarm: Swarm, postgres: Postgres, capsys: pytest.CaptureFixture[str]):
    await check(swarm, postgres, postgres.stop_answering, STALL_SECONDS, capsys)
