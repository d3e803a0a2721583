"""System checks: unsound combinations of settings are refused by id, sound ones are not."""

import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from channels_app import checks
from channels_app.conf import MAY_BE_ZERO, Conf
from tests.backends import Backend

SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "django.db.backends.postgresql"
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
ROOT = Path(__file__).parents[1]
REDIS = checks.REDIS_LAYER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _without_the_suites_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUBSUB_TEST_BACKEND", "PUBSUB_TORTURE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the checks look at, sound; each test spoils some of it."""
    settings = SimpleNamespace(
        DATABASES={"default": {"ENGINE": SQLITE}},
        CHANNEL_LAYERS={"default": {"BACKEND": IN_MEMORY}},
        SECRET_KEY="tGzv3JOkF0XG5Qx2TlKWIA-dGhlIHNhbXBsZSBub25jZQ",
        DEBUG=False,
        LOG_FORMAT="line",
        LOG_LEVEL="INFO",
        LOG_LEVELS=("DEBUG", "INFO"),
        ALLOWED_HOSTS=["pubsub.example.com"],
        REDIS_URL="",
        REDIS_HOSTS=[],
        DATABASE_TIMEOUT=4.0,
    )
    monkeypatch.setattr(checks, "settings", settings)
    return settings


def wrong_values() -> list[str]:
    return [message.msg for message in run_checks() if message.id == "pubsub.E006"]


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
        wrong = wrong_values()
    assert len(wrong) == 1
    assert f"PUBSUB_{name}" in wrong[0]


@pytest.mark.parametrize("text", ["two", "1.5", "0", "-1"])
def test_a_number_of_processes_that_is_none_is_refused_once(
    settings: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(checks.PROCESSES_VARIABLE, text)
    assert ids() == {"pubsub.E006"}
    assert [text in message for message in wrong_values()] == [True]


def test_an_empty_number_of_processes_is_one(settings: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(checks.PROCESSES_VARIABLE, "")
    assert ids() == set()


@pytest.mark.parametrize("name", sorted(each.name for each in fields(Conf) if each.type in (int, float)))
def test_a_number_has_bounds(name: str) -> None:
    kind = type(getattr(Conf(), name))
    impossible = ["-1"] + (["inf", "nan"] if kind is float else []) + ([] if name in MAY_BE_ZERO else ["0"])
    for text in impossible:
        with override_settings(PUBSUB={name: text}):
            assert [f"PUBSUB_{name}: {kind(text)} is not a number" in message for message in wrong_values()] == [True]


def test_zero_is_taken_where_the_settings_page_says_what_it_means() -> None:
    rows = re.findall(r"^\| `PUBSUB_(\w+)` \|.*`0`: ", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(MAY_BE_ZERO - {"DRAIN_DELAY"})  # which is 0 by default
    with override_settings(PUBSUB=dict.fromkeys(MAY_BE_ZERO, "0")):
        assert ids() == set()


@pytest.mark.parametrize("text", ["loud", "", "LINE"])
def test_a_log_level_that_does_not_exist_is_refused(settings: SimpleNamespace, text: str) -> None:
    settings.LOG_LEVEL = text
    assert ids() == {"pubsub.E006"}


@pytest.mark.parametrize("host", ["http://foo.example", "foo.example:8000", "foo.example/", "", "::1", "a b"])
def test_a_host_that_no_request_can_name_is_refused(settings: SimpleNamespace, host: str) -> None:
    settings.ALLOWED_HOSTS = [host]
    assert ids() == {"pubsub.E006"}


def test_hosts_may_be_names_addresses_domains_and_all(settings: SimpleNamespace) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", ".example.com", "my_host", "*"]
    assert ids() == set()


@pytest.mark.parametrize("url", ["foo", "http://r:6379", "redis://127.0.0.1:port/0", "redis://:hunter2/3@r:6379/0"])
def test_a_redis_that_is_nowhere_is_refused_without_its_password(settings: SimpleNamespace, url: str) -> None:
    settings.REDIS_URL, settings.REDIS_HOSTS = url, [url]
    (message,) = wrong_values()
    assert message.startswith("REDIS_URL: it must look like redis://host:6379/0")
    settings.REDIS_URL = ""
    (message,) = wrong_values()
    assert message.startswith("REDIS_HOSTS: it must look like redis://host:6379/0")
    assert "hunter" not in message


@pytest.mark.parametrize("url", ["redis://r", "redis://:p@r:6379/0", "rediss://r:6380", "unix:///run/redis.sock?db=1"])
def test_every_address_that_redis_has_is_taken(settings: SimpleNamespace, url: str) -> None:
    settings.REDIS_URL, settings.REDIS_HOSTS = url, [url]
    assert ids() == set()


def test_a_misspelt_name_is_a_warning_that_has_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_POLLWAIT", "3")
    monkeypatch.setenv("PUBSUB_XYZZY_QUUX", "3")
    near, far = [message for message in run_checks() if message.id == "pubsub.W007"]
    assert (near.msg, near.hint) == ("PUBSUB_POLLWAIT is no setting of this server.", "Did you mean PUBSUB_POLL_WAIT?")
    assert (far.msg, far.hint) == ("PUBSUB_XYZZY_QUUX is no setting of this server.", "docs/settings.md has every name.")


@pytest.mark.parametrize(("text", "expected"), [("json", set()), ("yaml", {"pubsub.E006"})])
def test_a_log_format_that_does_not_exist_is_refused(settings: SimpleNamespace, text: str, expected: set[str]) -> None:
    settings.LOG_FORMAT = text
    assert ids() == expected


@pytest.mark.parametrize(("connections", "expected"), [(2, {"pubsub.E006"}), (3, set())])
def test_publishing_may_not_take_all_connections(settings: SimpleNamespace, connections: int, expected: set[str]) -> None:
    settings.DATABASES["default"] = {"ENGINE": POSTGRESQL, "OPTIONS": {"pool": {"max_size": connections}}}
    assert ids() == expected


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("DATABASE_POOL_MIN", {"max_size": 20, "min_size": 21}),
        ("DATABASE_POOL_MIN", {"max_size": 20, "min_size": -1}),
        ("DATABASE_POOL_TIMEOUT", {"max_size": 20, "timeout": 0.0}),
        ("DATABASE_POOL_TIMEOUT", {"max_size": 20, "timeout": float("nan")}),
    ],
)
def test_a_pool_that_cannot_be_is_refused(settings: SimpleNamespace, name: str, pool: dict[str, float]) -> None:
    settings.DATABASES["default"] = {"ENGINE": POSTGRESQL, "OPTIONS": {"pool": pool}}
    (message,) = wrong_values()
    assert message.startswith(f"{name}: ")


def test_statements_must_get_time(settings: SimpleNamespace) -> None:
    settings.DATABASE_TIMEOUT = 0.0
    assert wrong_values() == ["DATABASE_TIMEOUT: 0.0 is not a number above 0"]


def test_limits_may_be_switched_off() -> None:
    with override_settings(PUBSUB={"ANONYMOUS_RATE": "", "FAILED_POLL_RATE": ""}):
        assert ids() == set()
