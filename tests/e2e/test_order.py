"""Many publish at once: the ids have no hole, and every subscriber has every one of them once and in order (laws 2 and 4)."""

import pytest

from tests.backends import Backend

from .deployment import Deployment, Server, channel_path
from .traffic import Listener, Publishers

THREADS = 32
EACH = 10
CHANNELS = ("lobby", "tower")


@pytest.fixture
def paths(credentials: dict[str, str]) -> list[str]:
    return [channel_path(credentials["instance"], channel) for channel in CHANNELS]


def check_storm(servers: list[Server], key: str, paths: list[str]) -> None:
    total = THREADS * EACH // len(paths)
    with servers[0].client(key) as client:
        channels = paths[0].removesuffix("lobby/")
        client.post(channels, json={"name": "tower", "custom_publish": True}).raise_for_status()
    listeners = {path: [Listener(server, key, path, count=total) for server in servers for _ in range(3)] for path in paths}
    # Half of the threads on each channel; on two servers, each channel has threads on both.
    publishers = Publishers(servers, key, [*paths, *reversed(paths)], threads=THREADS, count=EACH).start().join()
    assert not publishers.refused
    expected = list(range(1, total + 1))
    for path in paths:
        assert sorted(id_ for on, id_, _ in publishers.acknowledged if on == path) == expected
        for listener in listeners[path]:
            assert listener.join().ids == expected


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_32_publishers_on_2_channels_leave_no_hole(
    deployment: Deployment, credentials: dict[str, str], paths: list[str], kind: str
) -> None:
    check_storm([deployment.start(kind)], credentials["api_key"], paths)


def test_two_servers_share_one_log_or_refuse_to(
    backend: Backend, deployment: Deployment, credentials: dict[str, str], paths: list[str]
) -> None:
    if backend.several_processes:
        servers = [deployment.start(PUBSUB_PROCESSES="2") for _ in range(2)]
        check_storm(servers, credentials["api_key"], paths)
    else:
        deployment.start()
        refused = deployment.manage("serve", "--bind", "127.0.0.1:0")
        assert refused.returncode == 1
        assert "several processes cannot share a SQLite log (pubsub.E001)" in refused.stderr
