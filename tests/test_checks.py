"""System checks: unsound combinations of settings are refused by id, sound ones are not."""

from types import SimpleNamespace

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from channels_app import checks
from tests.backends import Backend

SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "django.db.backends.postgresql"
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
REDIS = checks.REDIS_LAYER

pytestmark = pytest.mark.django_db


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the checks look at, sound; each test spoils some of it."""
    settings = SimpleNamespace(
        DATABASES={"default": {"ENGINE": SQLITE}},
        CHANNEL_LAYERS={"default": {"BACKEND": IN_MEMORY}},
        SECRET_KEY="tGzv3JOkF0XG5Qx2TlKWIA-dGhlIHNhbXBsZSBub25jZQ",
        DEBUG=False,
        LOG_FORMAT="line",
    )
    monkeypatch.setattr(checks, "settings", settings)
    return settings


def ids(*, deploy: bool = False) -> set[str]:
    found = run_checks(databases=["default"], include_deployment_checks=deploy)
    return {message.id for message in found if message.id and message.id.startswith("pubsub.")}


def test_the_settings_the_tests_run_with_are_sound(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checks.PROCESSES_VARIABLE, "2" if backend.several_processes else "1")
    assert ids() == set()


@pytest.mark.parametrize(
    ("engine", "layer", "expected"),
    [
        (SQLITE, IN_MEMORY, {"pubsub.E001", "pubsub.E002"}),
        (SQLITE, REDIS, {"pubsub.E001"}),
        (POSTGRESQL, IN_MEMORY, {"pubsub.E002"}),
        (POSTGRESQL, "channels_redis.core.RedisChannelLayer", {"pubsub.E002"}),
        (POSTGRESQL, REDIS, set()),
    ],
)
def test_several_processes_need_postgresql_and_redis(
    settings: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, engine: str, layer: str, expected: set[str]
) -> None:
    settings.DATABASES["default"]["ENGINE"] = engine
    settings.CHANNEL_LAYERS["default"]["BACKEND"] = layer
    assert ids() == set()
    monkeypatch.setenv(checks.PROCESSES_VARIABLE, "2")
    assert ids() == expected


@pytest.mark.parametrize("age", [60, None])
def test_persistent_connections_are_refused(settings: SimpleNamespace, age: int | None) -> None:
    settings.DATABASES["default"]["CONN_MAX_AGE"] = age
    assert ids() == {"pubsub.E003"}


@pytest.mark.parametrize(
    "key", ["django-insecure-0123456789abcdefghijklmnopqrst", "short", "a" * 50, "change-me-" + "0123456789" * 5]
)
def test_a_default_or_weak_secret_is_refused_outside_debug(settings: SimpleNamespace, key: str) -> None:
    settings.SECRET_KEY = key
    assert ids() == {"pubsub.E004"}
    settings.DEBUG = True
    assert ids() == set()


def test_open_registration_is_a_warning_for_deployments() -> None:
    assert "pubsub.W005" in ids(deploy=True)
    with override_settings(PUBSUB={"OPEN_REGISTRATION": False}):
        assert "pubsub.W005" not in ids(deploy=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLL_WAIT", "long"),
        ("GROUP_COMMIT", "perhaps"),
        ("ANONYMOUS_RATE", "ten"),
        ("FAILED_POLL_RATE", "60"),
        ("SEAL_KEYS", "short"),
        ("PUSH_NETWORKS", "10.0.0.0/8,somewhere"),
        ("PUSH_ATTEMPTS", "0"),
        ("TWILIO_STREAM_BURST", "0"),
    ],
)
def test_a_value_that_nobody_can_use_is_refused_by_its_name(name: str, value: str) -> None:
    with override_settings(PUBSUB={name: value}):
        wrong = [message.msg for message in run_checks() if message.id == "pubsub.E006"]
    assert len(wrong) == 1
    assert f"PUBSUB_{name}" in wrong[0]


def test_a_number_of_processes_that_is_none_is_refused(settings: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checks.PROCESSES_VARIABLE, "two")
    assert "pubsub.E006" in ids()


@pytest.mark.parametrize(("text", "expected"), [("json", set()), ("yaml", {"pubsub.E006"})])
def test_a_log_format_that_does_not_exist_is_refused(settings: SimpleNamespace, text: str, expected: set[str]) -> None:
    settings.LOG_FORMAT = text
    assert ids() == expected


@pytest.mark.parametrize(("connections", "expected"), [(2, {"pubsub.E006"}), (3, set())])
def test_publishing_may_not_take_all_connections(settings: SimpleNamespace, connections: int, expected: set[str]) -> None:
    settings.DATABASES["default"] = {"ENGINE": POSTGRESQL, "OPTIONS": {"pool": {"max_size": connections}}}
    assert ids() == expected


def test_limits_may_be_switched_off() -> None:
    with override_settings(PUBSUB={"ANONYMOUS_RATE": "", "FAILED_POLL_RATE": ""}):
        assert ids() == set()
