"""SIGTERM: live connections are asked to come back, nothing is waited for in vain (DESIGN.md §5)."""

import signal
import time

import pytest

from channels_app.core.types import RESTARTING

from .deployment import Deployment, channel_path
from .traffic import Listener


@pytest.fixture
def path(credentials: dict[str, str]) -> str:
    return channel_path(credentials["instance"], "lobby")


def test_sockets_are_closed_with_the_code_that_says_come_back(
    deployment: Deployment, credentials: dict[str, str], path: str
) -> None:
    server = deployment.start(PUBSUB_DRAIN_SECONDS="0.5")
    listeners = [Listener(server, credentials["api_key"], path) for _ in range(10)]
    server.terminate()
    assert [listener.join().close_code for listener in listeners] == [RESTARTING.code] * 10


def test_an_idle_keep_alive_connection_does_not_delay_the_end(deployment: Deployment, credentials: dict[str, str]) -> None:
    server = deployment.start(PUBSUB_DRAIN_SECONDS="600")
    with server.client(credentials["api_key"]) as client:
        assert client.get("/v1.1/").status_code == 200
        server.terminate()


def test_a_second_sigterm_ends_at_once(deployment: Deployment, credentials: dict[str, str], path: str) -> None:
    server = deployment.start(PUBSUB_DRAIN_SECONDS="600")
    listeners = [Listener(server, credentials["api_key"], path) for _ in range(2)]
    server.signal(signal.SIGTERM)
    while server.is_listening():  # until it has seen the first one
        time.sleep(0.05)
    server.terminate()
    assert all(listener.join().close_code for listener in listeners)
