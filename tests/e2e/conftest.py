"""Deployments for tests that run the server as a process. Whatever a test started is ended after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends import Backend

from .deployment import Deployment, Server, Template
from .redis_server import Redis
from .sync_service import SyncService


@pytest.fixture(scope="session")
def template(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template(backend, tmp_path_factory.mktemp("template"))


@pytest.fixture
def deployment(template: Template, tmp_path: Path) -> Iterator[Deployment]:
    """With the instance, the channel and the keys of `credentials` in it. A traceback in a server's log fails the test."""
    deployment = template.deploy(tmp_path)
    yield deployment
    for server in deployment.servers:
        if server.is_running:
            server.kill()
        print(f"--- {server.log_path.name}\n{server.log()}")
    assert not [server.log_path for server in deployment.servers if "Traceback" in server.log()]


@pytest.fixture
def credentials(template: Template) -> dict[str, str]:
    """instance, account_key, api_key: what `quickstart --json` printed."""
    return template.credentials


@pytest.fixture(scope="module")
def service(server: Server, template: Template) -> SyncService:
    """For modules that have one server: the instance, as Twilio's API shows it."""
    return SyncService(server, template.credentials)


@pytest.fixture
def redis() -> Iterator[Redis]:
    redis = Redis()
    yield redis
    redis.kill()
