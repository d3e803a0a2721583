"""What an operator sees of a running server: health, metrics, and log lines (docs/operations.md)."""

import contextlib
import json
import re
import signal
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from channels_app.core.types import RESTARTING, REVOKED
from channels_app.server.health import DRAINING, NO_CHANNEL_LAYER
from tests.backends import Backend, free_port

from .deployment import Deployment, Server, channel_path
from .redis_server import Redis
from .traffic import Listener


@pytest.fixture
def path(credentials: dict[str, str]) -> str:
    return channel_path(credentials["instance"], "lobby")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def readiness(url: str) -> tuple[int, dict[str, object]]:
    answer = httpx.get(f"{url}/readyz")
    return answer.status_code, answer.json()


def two_free_ports() -> int:
    """The first of two that follow each other."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
            return port


def is_ready(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return readiness(url)[0] == 200
    return False


def start_watched(deployment: Deployment, **environment: str) -> tuple[Server, str]:
    """A server, and the URL of its own address for health and metrics."""
    port = free_port()
    return deployment.start(PUBSUB_METRICS_BIND=f"127.0.0.1:{port}", **environment), f"http://127.0.0.1:{port}"


def test_a_server_that_drains_says_so_while_its_sockets_get_their_codes(
    deployment: Deployment, credentials: dict[str, str], path: str
) -> None:
    server, beside = start_watched(deployment, PUBSUB_DRAIN_SECONDS="3")
    assert readiness(beside) == readiness(server.url) == (200, {"status": "ready"})
    listeners = [Listener(server, credentials["api_key"], path) for _ in range(4)]
    server.signal(signal.SIGTERM)
    wait_until(lambda: readiness(beside) == (503, {"status": "unavailable", "reasons": [DRAINING]}))
    wait_until(lambda: not server.is_listening())
    assert httpx.get(f"{beside}/livez").status_code == 200
    assert "pubsub_subscribers" in httpx.get(f"{beside}/metrics").text
    server.wait()
    assert [listener.join().close_code for listener in listeners] == [RESTARTING.code] * 4


def test_a_balancer_gets_time_to_look_elsewhere(deployment: Deployment, credentials: dict[str, str], path: str) -> None:
    server = deployment.start(PUBSUB_DRAIN_DELAY="600")
    server.signal(signal.SIGTERM)
    wait_until(lambda: readiness(server.url)[0] == 503)
    with server.client(credentials["api_key"]) as client:  # what still comes is served
        listener = Listener(server, credentials["api_key"], path, count=1)
        assert client.post(f"{path}publish/", json={}).status_code == 201
    assert listener.join().ids == [1]
    server.terminate()  # a second signal ends the wait


def test_without_redis_it_is_degraded_and_publishes_go_on(
    backend: Backend, deployment: Deployment, credentials: dict[str, str], path: str, redis: Redis
) -> None:
    if not backend.several_processes:
        pytest.skip("there is no Redis to lose")
    server = deployment.start(REDIS_URL=redis.url)
    assert readiness(server.url) == (200, {"status": "ready"})
    redis.kill()
    assert readiness(server.url) == (200, {"status": "degraded", "reasons": [NO_CHANNEL_LAYER]})
    with server.client(credentials["api_key"]) as client:
        assert client.post(f"{path}publish/", json={}).status_code == 201
    redis.start()
    wait_until(lambda: readiness(server.url) == (200, {"status": "ready"}))


def test_what_was_published_and_heard_is_counted(deployment: Deployment, credentials: dict[str, str], path: str) -> None:
    server = deployment.start()
    listener = Listener(server, credentials["api_key"], path, count=3)
    with server.client(credentials["api_key"]) as client:
        for _ in range(3):
            client.post(f"{path}publish/", json={}).raise_for_status()
    listener.join()
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    assert 'pubsub_published_total{dialect="syncano",front="express",outcome="stored"} 3.0' in lines
    assert 'pubsub_delivered_total{dialect="syncano",transport="websocket"} 3.0' in lines


def test_the_log_as_json_names_who_was_sent_away_and_no_key(
    deployment: Deployment, credentials: dict[str, str], path: str
) -> None:
    server = deployment.start("uvicorn", "--access-log", LOG_FORMAT="json")
    keys = f"/v1.1/instances/{credentials['instance']}/api_keys/"
    with server.client(credentials["account_key"]) as client:
        made = client.post(keys, json={"ignore_acl": True}).raise_for_status().json()
        listener = Listener(server, made["api_key"], path)
        httpx.get(f"{server.url}{path}history/", params={"api_key": made["api_key"]}).raise_for_status()
        client.delete(f"{keys}{made['id']}/").raise_for_status()
    assert listener.join().close_code == REVOKED.code
    server.terminate()
    entries = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    (closed,) = [entry for entry in entries if "code" in entry]
    assert (closed["code"], closed["transport"], closed["channel"]) == (REVOKED.code, "websocket", "lobby")
    assert closed["key"] == made["api_key"][:8]
    assert any(f"api_key={made['api_key'][:8]}…" in entry["message"] for entry in entries), "the access log"
    assert made["api_key"][:9] not in server.log()


def test_each_worker_counts_at_an_address_of_its_own(
    backend: Backend, deployment: Deployment, credentials: dict[str, str], path: str
) -> None:
    if not backend.several_processes:
        pytest.skip("one process is all there is on SQLite")
    first = two_free_ports()
    server = deployment.start("uvicorn", "--workers", "2", PUBSUB_METRICS_BIND=f"127.0.0.1:{first}")
    urls = [f"http://127.0.0.1:{port}" for port in (first, first + 1)]
    wait_until(lambda: all(is_ready(url) for url in urls))
    for _ in range(5):
        with server.client(credentials["api_key"]) as client:
            client.post(f"{path}publish/", json={}).raise_for_status()
    pages = [httpx.get(f"{url}/metrics").text for url in urls]
    counted = [
        float(number) for page in pages for number in re.findall(r'^pubsub_published_total{.*"stored"} (\S+)$', page, re.M)
    ]
    assert sum(counted) == 5


@pytest.mark.parametrize("wrong", ["9000", "localhost:http", ":9000"])
def test_serve_refuses_an_address_that_is_none(deployment: Deployment, wrong: str) -> None:
    refused = deployment.manage("serve", PUBSUB_METRICS_BIND=wrong)
    assert refused.returncode == 1
    assert f"PUBSUB_METRICS_BIND: {wrong!r} is no HOST:PORT" in refused.stderr


def test_serve_says_that_the_port_for_metrics_is_taken(deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        refused = deployment.manage("serve", "--bind", f"127.0.0.1:{free_port()}", PUBSUB_METRICS_BIND=taken)
    assert refused.returncode == 1
    assert f"CommandError: PUBSUB_METRICS_BIND, {taken}: " in refused.stderr
    assert "Address already in use" in refused.stderr
    assert "Traceback" not in refused.stderr
