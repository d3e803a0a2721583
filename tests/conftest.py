"""What every test gets: a backend of its own choosing (`tests/backends.py`) and a process that remembers nothing."""

import os
from collections.abc import Iterator

import django
import pytest

from . import backends

BACKEND = backends.start()
# Before Django reads its settings: that is why pyproject.toml does not name them.
os.environ.update(BACKEND.environment)
os.environ["DJANGO_SETTINGS_MODULE"] = "pubsub_site.settings"
django.setup()

from django.conf import settings  # noqa: E402  (needs the environment)

settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a real one costs 0.2 s by design

from channels_app.core import directory, publishing, throttling  # noqa: E402  (needs Django set up)


def pytest_report_header() -> str:
    return f"backend: {BACKEND.name}, group commit: {os.environ.get('PUBSUB_GROUP_COMMIT', 'true')}"


@pytest.fixture(scope="session")
def backend() -> backends.Backend:
    return BACKEND


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """The backend goes as a whole: to drop its test database first would wait for every connection a thread still has."""
    return True


@pytest.fixture(autouse=True)
def _fresh_process(_django_db_marker: None) -> Iterator[None]:
    """Nothing that one test's process remembered reaches the next; what it still had to write is written before its rows go."""
    directory.forget()
    throttling.reset()
    yield
    publishing.close_lanes()
