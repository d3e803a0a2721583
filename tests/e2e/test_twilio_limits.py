"""A stream's limit with several processes, and without the Redis that they share it through."""

import pytest

from tests.backends import Backend

from .deployment import Deployment, Template
from .redis_server import Redis
from .sync_service import SyncService, error

SLOW = {"PUBSUB_TWILIO_STREAM_RATE": "1", "PUBSUB_TWILIO_STREAM_BURST": "20"}
TOO_MANY = (429, 54009)


def accepted(*services: SyncService, stream: str, times: int = 60) -> int:
    """How many of so many messages, through each service in turn, the stream takes; others must be refused by its limit."""
    answers = [services[number % len(services)].publish(stream, "{}") for number in range(times)]
    assert {error(answer) for answer in answers if answer.status_code != 201} <= {TOO_MANY}
    return sum(answer.status_code == 201 for answer in answers)


def test_two_processes_share_a_streams_limit(backend: Backend, deployment: Deployment, template: Template) -> None:
    if not backend.several_processes:
        pytest.skip("one process is all there is on SQLite")
    first, second = (SyncService(deployment.start(**SLOW), template.credentials) for _ in range(2))
    stream = first.create_stream()["sid"]
    assert 20 <= accepted(first, second, stream=stream) < 40


def test_without_redis_each_process_goes_on_with_a_limit_of_its_own(
    deployment: Deployment, template: Template, redis: Redis
) -> None:
    service = SyncService(deployment.start(REDIS_URL=redis.url, REDIS_HOSTS=redis.url, **SLOW), template.credentials)
    stream = service.create_stream()["sid"]
    assert 20 <= accepted(service, stream=stream) < 60
    redis.kill()
    assert 20 <= accepted(service, stream=stream) < 60  # of its own bucket, which was full
