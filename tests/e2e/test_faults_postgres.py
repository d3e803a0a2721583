"""PostgreSQL may restart, or stop answering: publishes are refused in time, live connections stay, and all is well after it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping

import httpx
import psutil
import pytest
import websockets.asyncio.client
from websockets.exceptions import InvalidStatus

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
DIRECTORY_SECONDS = 1.1  # a little more than what it remembers

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
    seconds = dict.fromkeys(("PUBSUB_PUBLISH_TIMEOUT", "DATABASE_TIMEOUT", "DATABASE_POOL_TIMEOUT"), str(PUBLISH_TIMEOUT))
    limits = {**seconds, "DATABASE_POOL_MAX": str(POOL)}
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


class Attempt:
    """One thing that a client wants, and the answer: its status, whether it says when to come back, and the seconds it took."""

    def __init__(self, name: str, swarm: Swarm, client: httpx.AsyncClient) -> None:
        self.name = name
        self._attempt = getattr(self, f"_{name}")
        self._client, self._url, self._key = client, f"{swarm.server.url}{swarm.path}", swarm.key

    async def __call__(self) -> tuple[int, bool, float]:
        started = time.monotonic()
        status, headers = await self._attempt()
        return status, "retry-after" in headers, time.monotonic() - started

    async def _publish_by_the_view(self) -> tuple[int, Mapping[str, str]]:
        answer = await self._client.post(
            f"{self._url}publish/", data={"payload": "{}"}
        )  # a form: the express lane takes JSON only
        return answer.status_code, answer.headers

    async def _read_history(self) -> tuple[int, Mapping[str, str]]:
        answer = await self._client.get(f"{self._url}history/")
        return answer.status_code, answer.headers

    async def _long_poll(self) -> tuple[int, Mapping[str, str]]:
        answer = await self._client.get(f"{self._url}poll/", params={"last_id": 0})
        return answer.status_code, answer.headers

    async def _open_a_websocket(self) -> tuple[int, Mapping[str, str]]:
        url = f"{self._url.replace('http', 'ws', 1)}poll/?transport=websocket&api_key={self._key}"
        try:
            async with websockets.asyncio.client.connect(url, open_timeout=30) as socket:
                return socket.response.status_code, socket.response.headers
        except InvalidStatus as refused:
            return refused.response.status_code, refused.response.headers


@pytest.fixture
async def client(swarm: Swarm) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers={"X-API-KEY": swarm.key}, limits=limits, timeout=30) as client:
        yield client


async def test_a_stall_keeps_nobody_waiting_whatever_they_want(
    server: Server, swarm: Swarm, client: httpx.AsyncClient, postgres: Postgres, capsys: pytest.CaptureFixture[str]
):
    """More of them than there are threads and connections: who waits for one of those is answered in time, too."""
    names = ("publish_by_the_view", "read_history", "long_poll", "open_a_websocket")
    attempts = [Attempt(name, swarm, client) for name in names]
    good = {"publish_by_the_view": 201, "read_history": 200, "long_poll": 200, "open_a_websocket": 101}

    async def all_of(times: int) -> list[tuple[str, tuple[int, bool, float]]]:
        chosen = attempts * times
        return list(zip([each.name for each in chosen], await asyncio.gather(*(each() for each in chosen)), strict=True))

    async def something_fails() -> bool:
        return any(status != good[name] for name, (status, _, _) in await all_of(1))

    assert not await something_fails()
    await all_of(10)
    threads = psutil.Process(server.pid).num_threads()
    postgres.stop()
    try:
        await asyncio.sleep(DIRECTORY_SECONDS)  # what is remembered would need no database
        answers = await all_of(10)
    finally:
        postgres.go_on()
    ended = time.monotonic()
    while await something_fails():
        assert time.monotonic() - ended < RECOVERY_SECONDS
    recovered = time.monotonic() - ended
    refused = {name: sum(answer[:2] == (503, True) for of, answer in answers if of == name) for name in good}
    slowest = {name: max(answer[2] for of, answer in answers if of == name) for name in good}
    connections = await asyncio.to_thread(postgres.connections)
    more = psutil.Process(server.pid).num_threads() - threads
    with capsys.disabled():
        print(
            f"\n  PostgreSQL stalled: refused {refused}, slowest { {name: round(each, 1) for name, each in slowest.items()} },"
            f" well {recovered:.1f} s later, {more:+} threads"
        )
    assert refused == dict.fromkeys(good, 10)
    assert max(slowest.values()) < PUBLISH_TIMEOUT + LEEWAY
    assert connections <= POOL
    assert more < 10, "threads that hang"


async def test_a_restart_is_survived(swarm: Swarm, postgres: Postgres, capsys: pytest.CaptureFixture[str]):
    await check(swarm, postgres, postgres.restart, AWAY_SECONDS, capsys)


async def test_a_stall_is_survived(swarm: Swarm, postgres: Postgres, capsys: pytest.CaptureFixture[str]):
    await check(swarm, postgres, postgres.stop_answering, STALL_SECONDS, capsys)
