"""Two server processes on one PostgreSQL and one Redis are one server to their clients (DESIGN.md §3, laws 4 and 5)."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.backends import Backend

from .deployment import Deployment, Server, channel_path
from .redis_server import Redis
from .traffic import Listener

QUIET = {"PUBSUB_ANONYMOUS_RATE": "", "PUBSUB_FAILED_POLL_RATE": ""}


@pytest.fixture(autouse=True)
def _several_processes(backend: Backend) -> None:
    if not backend.several_processes:
        pytest.skip("one process is all there is on SQLite")


@pytest.fixture
def path(credentials: dict[str, str]) -> str:
    return channel_path(credentials["instance"], "lobby")


@pytest.fixture
def pair(deployment: Deployment) -> tuple[Server, Server]:
    return deployment.start(**QUIET), deployment.start(**QUIET)


def new_key(client: httpx.Client, credentials: dict[str, str]) -> tuple[str, str]:
    """An API key that may do everything, and its path."""
    keys = f"/v1.1/instances/{credentials['instance']}/api_keys/"
    made = client.post(keys, json={"ignore_acl": True}).raise_for_status().json()
    return made["api_key"], made["links"]["self"]


def next_id(server: Server, key: str, path: str, last_id: int) -> int:
    with server.client(key) as client:
        return int(client.get(f"{path}poll/", params={"last_id": last_id}).raise_for_status().json()["id"])


class EventStream:
    """Server-Sent Events from one server; open once it is made."""

    def __init__(self, server: Server, key: str, path: str) -> None:
        self._client = server.client(key)
        self._stream = self._client.stream("GET", f"{path}poll/", params={"transport": "sse"})
        self._lines = self._stream.__enter__().iter_lines()
        assert next(self._lines).startswith("retry:")

    def __enter__(self) -> "EventStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.__exit__(None, None, None)
        self._client.close()

    def line(self, prefix: str) -> str:
        return next(line for line in self._lines if line.startswith(prefix)).removeprefix(prefix)


def test_who_listens_on_one_hears_what_is_published_on_the_other(
    deployment: Deployment, credentials: dict[str, str], path: str
) -> None:
    """At once, by Redis: the look at the log that makes up for a lost hint is an hour away."""
    here, there = (deployment.start(**QUIET, PUBSUB_SAFETY_POLL="3600") for _ in range(2))
    key = credentials["api_key"]
    with there.client(key) as client, EventStream(here, key, path) as events, ThreadPoolExecutor() as pool:
        listener = Listener(here, key, path, count=3)
        for number in (1, 2, 3):
            waiting = pool.submit(next_id, here, key, path, number - 1)
            assert client.post(f"{path}publish/", json={}).json()["id"] == number
            assert waiting.result(20) == number
            assert events.line("id: ") == str(number)
        assert listener.join().ids == [1, 2, 3]


def test_a_key_revoked_on_one_is_worth_nothing_on_the_other(
    pair: tuple[Server, Server], credentials: dict[str, str], path: str
) -> None:
    here, there = pair
    with here.client(credentials["account_key"]) as administrator:
        key, key_path = new_key(administrator, credentials)
        with there.client(key) as client:
            revoked, kept = Listener(there, key, path), Listener(there, credentials["api_key"], path, count=2)
            assert client.post(f"{path}publish/", json={}).status_code == 201
            started = time.perf_counter()
            assert administrator.delete(key_path).status_code == 204
            published = 1
            while (answer := client.post(f"{path}publish/", json={})).status_code == 201:
                published += 1
            print(f"Refused by the other process after {time.perf_counter() - started:.2f} s")
            assert answer.json() == {"detail": "No such API Key."}
            assert revoked.join().close_code == 4003
            print(f"Its socket there closed after {time.perf_counter() - started:.2f} s")
        assert administrator.post(f"{path}publish/", json={}).json()["id"] == published + 1, "a refused publish burns no id"
        assert kept.join().ids == [1, 2], "another key's socket stays"


def test_a_channel_deleted_on_one_ends_its_subscribers_on_the_other(
    pair: tuple[Server, Server], credentials: dict[str, str], path: str
) -> None:
    here, there = pair
    key = credentials["api_key"]
    listener = Listener(there, key, path)
    with EventStream(there, key, path) as events, here.client(key) as client:
        assert client.delete(path).status_code == 204
        assert events.line("event: ") == "closed"
        assert json.loads(events.line("data: "))["code"] == 4004
    assert listener.join().close_code == 4004


def test_a_limit_counts_the_requests_to_both(deployment: Deployment) -> None:
    servers = [deployment.start(PUBSUB_ANONYMOUS_RATE="6/day") for _ in range(2)]
    statuses = [httpx.get(f"{server.url}/v1.1/").status_code for _ in range(4) for server in servers]
    assert statuses == [200] * 6 + [429] * 2


def test_hints_may_be_spread_over_several_redis_servers(
    deployment: Deployment, credentials: dict[str, str], path: str, redis: Redis
) -> None:
    """Again with the look at the log an hour away; each channel's hints have their Redis."""
    key, second = credentials["api_key"], Redis()
    try:
        spread = {"REDIS_URL": redis.url, "REDIS_HOSTS": f"{redis.url},{second.url}", "PUBSUB_SAFETY_POLL": "3600"}
        here, there = (deployment.start(**QUIET, **spread) for _ in range(2))
        with there.client(key) as client:
            paths = [path.replace("lobby", f"lobby-{number}") for number in range(8)]
            for each in paths:
                name = each.split("/")[-2]
                client.post(path.replace("lobby/", ""), json={"name": name, "custom_publish": True}).raise_for_status()
            listeners = [Listener(here, key, each, count=1) for each in paths]
            assert all(server.keys() for server in (redis, second)), "both are used"
            for each in paths:
                client.post(f"{each}publish/", json={}).raise_for_status()
            assert [listener.join().ids for listener in listeners] == [[1]] * len(paths)
        here.kill()
        there.kill()
    finally:
        second.kill()
