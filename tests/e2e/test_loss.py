"""What was answered 2xx is in the log, once, whatever happens to the server meanwhile (laws 1 and 2)."""

import os

import pytest

from .deployment import Deployment, Server, channel_path, whole_history
from .traffic import Publishers

ROUNDS = 5 if os.environ.get("PUBSUB_TORTURE") else 2
PUBLISHERS = 8


def check(server: Server, credentials: dict[str, str], publishers: list[Publishers]) -> str:
    """Assert what must hold of the quickstart channel; return the figures in a line."""
    with server.client(credentials["api_key"]) as client:
        stored = whole_history(client, channel_path(credentials["instance"], "lobby"))
    ids = [message["id"] for message in stored]
    numbers = {message["id"]: message["payload"]["number"] for message in stored}
    acknowledged = [(id_, number) for each in publishers for _, id_, number in each.acknowledged]
    lost = [(id_, number) for id_, number in acknowledged if numbers.get(id_) != number]
    repeated = len(ids) - len(set(ids))
    holes = set(range(1, max(ids) + 1)) - set(ids)
    figures = f"acknowledged {len(acknowledged)}, stored {len(ids)}, lost {len(lost)}, repeated {repeated}, holes {len(holes)}"
    assert not lost, figures
    assert not repeated, figures
    assert not holes, figures
    return figures


@pytest.fixture
def path(credentials: dict[str, str]) -> str:
    return channel_path(credentials["instance"], "lobby")


def test_kill_9_loses_nothing_that_was_acknowledged(
    deployment: Deployment, credentials: dict[str, str], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = deployment.start()
    rounds = []
    for _ in range(ROUNDS):
        publishers = Publishers([server], credentials["api_key"], [path], threads=PUBLISHERS).start()
        publishers.wait_for(300)
        server.kill()
        rounds.append(publishers.join())
        server.start()
    figures = check(server, credentials, rounds)
    with capsys.disabled():
        print(f"\n  kill -9, {ROUNDS} times, {PUBLISHERS} publishers: {figures}")


def test_sigterm_answers_what_it_took_and_keeps_it(deployment: Deployment, credentials: dict[str, str], path: str) -> None:
    server = deployment.start()
    publishers = Publishers([server], credentials["api_key"], [path], threads=PUBLISHERS).start()
    publishers.wait_for(300)
    server.terminate()
    publishers.join()
    assert not publishers.refused
    server.start()
    check(server, credentials, [publishers])
