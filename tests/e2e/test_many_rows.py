"""A channel with very many messages: deleting it is a matter of a few rows, and clearing up stops nobody from publishing.

`make test` takes 100,000 messages; `PUBSUB_TORTURE=1` takes 1,000,000.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import websockets.sync.client

from .deployment import Deployment, Server, channel_path, whole_history
from .rows import channel_id, count, fill, messages_in
from .traffic import Listener, Publishers

TORTURE = bool(os.environ.get("PUBSUB_TORTURE"))
MANY = 1_000_000 if TORTURE else 100_000
UNSWEPT = {"PUBSUB_RETENTION_INTERVAL": "3600"}
SWEPT = {"PUBSUB_RETENTION_INTERVAL": "0.1"}
PATIENCE = 300 if TORTURE else 60  # seconds for all rows to go
PURGES = "SELECT COUNT(*) FROM channels_app_purge"

pytestmark = pytest.mark.timeout(900 if TORTURE else 120)


@pytest.fixture
def path(credentials: dict[str, str]) -> str:
    return channel_path(credentials["instance"], "lobby")


@pytest.fixture
def channel(deployment: Deployment, credentials: dict[str, str]) -> int:
    """The lobby's id in the database, once it has MANY messages."""
    channel = channel_id(deployment, credentials["instance"], "lobby")
    fill(deployment, channel, MANY)
    return channel


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - started:.3f} s")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def epoch(server: Server, path: str, key: str) -> str:
    url = f"{server.url.replace('http', 'ws', 1)}{path}poll/?transport=websocket&hello=1&api_key={key}"
    with websockets.sync.client.connect(url) as socket:
        return str(json.loads(socket.recv())["hello"]["epoch"])


def gone(client: httpx.Client, path: str) -> bool:
    return {client.get(path + part).status_code for part in ("", "poll/?last_id=0", "history/", "history/1/")} == {404}


def make_lobby(client: httpx.Client, path: str) -> None:
    client.post(path.removesuffix("lobby/"), json={"name": "lobby", "custom_publish": True}).raise_for_status()


def test_a_deleted_channel_is_gone_at_once_and_its_rows_go_later(
    deployment: Deployment, credentials: dict[str, str], path: str, channel: int
) -> None:
    key = credentials["api_key"]
    server = deployment.start(**UNSWEPT)
    with server.client(key) as client:
        before = epoch(server, path, key)
        listener = Listener(server, key, path, last_id=MANY)
        with timed(f"DELETE a channel with {MANY} messages"):
            assert client.delete(path).status_code == 204
        assert messages_in(deployment, channel) == MANY, "the request itself removes none of them"
        assert gone(client, path)
        assert listener.join().close_code == 4004
        assert client.post(f"{path}publish/", json={}).status_code == 404

        make_lobby(client, path)
        assert whole_history(client, path) == []
        assert client.post(f"{path}publish/", json={}).json()["id"] == 1
        assert epoch(server, path, key) != before
        assert [message["id"] for message in whole_history(client, path)] == [1]
    server.terminate()

    server = deployment.start(**SWEPT)
    publishers = Publishers([server], key, [path], threads=4).start()
    with timed(f"The server removed {MANY} rows beside 4 publishers"):
        wait_until(lambda: messages_in(deployment, channel) == 0)
    publishers.stop().join()
    assert not publishers.refused
    ids = sorted(id_ for _, id_, _ in publishers.acknowledged)
    assert ids == list(range(2, len(ids) + 2))
    wait_until(lambda: count(deployment, PURGES) == 0)
    print(f"{len(ids)} publishes meanwhile")


def test_a_deleted_instance_is_gone_at_once_and_its_rows_go_later(
    deployment: Deployment, credentials: dict[str, str], path: str, channel: int
) -> None:
    instance = f"/v1.1/instances/{credentials['instance']}/"
    server = deployment.start(**UNSWEPT)
    with server.client(credentials["account_key"]) as client:
        listener = Listener(server, credentials["api_key"], path, last_id=MANY)
        with timed(f"DELETE an instance with {MANY} messages"):
            assert client.delete(instance).status_code == 204
        assert messages_in(deployment, channel) == MANY
        assert client.get(instance).status_code == 404
        assert gone(client, path)
        assert listener.join().close_code in (4003, 4004), "its key went as well as its channel"
        client.post("/v1.1/instances/", json={"name": credentials["instance"]}).raise_for_status()
        make_lobby(client, path)
        assert whole_history(client, path) == []
        assert client.post(f"{path}publish/", json={}).json()["id"] == 1
    server.terminate()
    deployment.start(**SWEPT)
    with timed(f"The server removed {MANY} rows"):
        wait_until(lambda: count(deployment, PURGES) == 0)
    assert count(deployment, "SELECT COUNT(*) FROM channels_app_message") == 1


@pytest.mark.parametrize("rule", [{"PUBSUB_RETENTION_COUNT": "1000"}, {"PUBSUB_RETENTION_AGE": "1800"}], ids=["count", "age"])
def test_retention_trims_while_all_publish(
    deployment: Deployment, credentials: dict[str, str], path: str, channel: int, rule: dict[str, str]
) -> None:
    counter = f"channels_app_counter WHERE channel_id = {channel}"
    kept = f"SELECT COUNT(*) FROM channels_app_message WHERE channel_id = {channel} AND id > trimmed_id"
    server = deployment.start(**SWEPT, **rule)
    publishers = Publishers([server], credentials["api_key"], [path], threads=4).start()
    with timed(f"The server trimmed {MANY} messages by {rule} beside 4 publishers"):
        wait_until(lambda: count(deployment, f"SELECT trimmed_id FROM {counter}") >= MANY - 1000)
    publishers.stop().join()
    assert not publishers.refused
    ids = sorted(id_ for _, id_, _ in publishers.acknowledged)
    assert ids == list(range(MANY + 1, MANY + 1 + len(ids)))
    assert count(deployment, f"SELECT last_id FROM {counter}") == ids[-1]
    assert count(deployment, f"SELECT last_id - trimmed_id - ({kept}) FROM {counter}") == 0, "all that is not trimmed is there"
    print(f"{len(ids)} publishes meanwhile")
