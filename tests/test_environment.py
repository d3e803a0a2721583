"""What the settings read: one parser for all, whose errors name the variable and show no password."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from channels_app import conf, environment

ROOT = Path(__file__).parents[1]


def settings_with(folder: Path, what: str, **variables: str) -> str:
    """What a process that has these variables finds in its settings; of a failure the last line."""
    code = f"from pubsub_site import settings; print(repr(settings.{what}), end='')"
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean | {"PUBSUB_DATA": str(folder)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout or done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("text", "expected"), [("Yes", True), ("on", True), (" true ", True), ("0", False), ("no", False)])
def test_a_yes_or_a_no_has_the_documented_words(monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    monkeypatch.setenv("DEBUG", text)
    assert environment.value("DEBUG", not expected) is expected


@pytest.mark.parametrize(
    ("text", "default", "complaint"),
    [
        ("ja", False, "LIMIT is 'ja', which is neither yes nor no."),
        ("x", 4.0, "LIMIT is 'x', which is no number."),
        ("1.5", 20, "LIMIT is '1.5', which is no whole number."),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, text: str, default: float, complaint: str
) -> None:
    monkeypatch.setenv("LIMIT", text)
    with pytest.raises(ImproperlyConfigured) as refused:
        environment.value("LIMIT", default)
    assert str(refused.value) == complaint


def test_an_empty_number_or_yes_or_no_is_as_good_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", " "):
        monkeypatch.setenv("LIMIT", text)
        assert environment.value("LIMIT", 4.0) == 4.0
        assert environment.value("LIMIT", True) is True


def test_an_empty_text_or_list_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDS", "")
    assert environment.text("WORDS", "some") == ""
    assert environment.words("WORDS", ["some"]) == []


@pytest.mark.parametrize("name", ["DEBUG", "BEHIND_TLS_PROXY"])
def test_a_yes_that_is_none_of_the_documented_words_does_not_count_as_no(tmp_path: Path, name: str) -> None:
    assert f"{name} is 'ja', which is neither yes nor no." in settings_with(tmp_path, "DEBUG", **{name: "ja"})


@pytest.mark.parametrize("name", ["DATABASE_TIMEOUT", "DATABASE_POOL_MIN", "DATABASE_POOL_MAX", "DATABASE_POOL_TIMEOUT"])
def test_the_databases_numbers_are_numbers(tmp_path: Path, name: str) -> None:
    found = settings_with(tmp_path, "DEBUG", DATABASE_URL="postgres://u@h/n", **{name: "x"})
    assert f"{name} is 'x', which is no" in found


def test_every_setting_of_the_server_can_be_given_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in fields(conf.Conf):
        monkeypatch.setenv(f"PUBSUB_{each.name}", "1")
    assert conf.from_environment() == {each.name: "1" for each in fields(conf.Conf)}


def test_of_the_servers_settings_the_empty_texts_alone_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in fields(conf.Conf):
        monkeypatch.setenv(f"PUBSUB_{each.name}", "")
    texts = {each.name for each in fields(conf.Conf) if each.type in (str, list[str])}
    assert conf.from_environment() == dict.fromkeys(texts, "")


@pytest.mark.parametrize("variables", [{}, {"REDIS_HOSTS": ""}])
def test_without_hosts_of_its_own_the_channel_layer_is_where_the_limits_are(
    tmp_path: Path, variables: Mapping[str, str]
) -> None:
    assert settings_with(tmp_path, "REDIS_HOSTS", REDIS_URL="redis://r", **variables) == "['redis://r']"


@pytest.mark.parametrize("text", ["loud", ""])
def test_a_wrong_log_level_does_not_keep_the_log_from_saying_so(tmp_path: Path, text: str) -> None:
    assert settings_with(tmp_path, "LOGGING['root']['level']", LOG_LEVEL=text) == "'INFO'"


class TestDatabase:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
    def test_a_url_of_postgresql_is_taken(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        monkeypatch.setenv("DATABASE_URL", f"{scheme}://u:p%2F%23@h:5433/n?sslmode=require")
        assert environment.database("DATABASE_URL") == {
            "ENGINE": "django.db.backends.postgresql",
            "USER": "u",
            "PASSWORD": "p/#",
            "HOST": "h",
            "PORT": 5433,
            "NAME": "n",
            "OPTIONS": {"sslmode": "require"},
        }

    @pytest.mark.parametrize(
        "url",
        [
            "foo",
            "postgres://user:hunter2@host:port/name",
            "postgres://user:hunter2/3@host/name",
            "postgres://user:hunter2@host:5432",
            "postgress://user:hunter2@host/name",
            "mysql://user:hunter2@host/name",
            "postgres://user:hunter2@[host/name",
        ],
    )
    def test_another_is_refused_without_its_password(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        monkeypatch.setenv("DATABASE_URL", url)
        with pytest.raises(ImproperlyConfigured) as refused:
            environment.database("DATABASE_URL")
        assert "DATABASE_URL must look like postgres://user:password@host:5432/name" in str(refused.value)
        assert "hunter" not in str(refused.value)
        assert refused.value.__suppress_context__ or refused.value.__context__ is None

    def test_sqlite_is_where_pubsub_data_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "sqlite:////tmp/pubsub.sqlite3")
        with pytest.raises(ImproperlyConfigured, match="PUBSUB_DATA says where its file goes"):
            environment.database("DATABASE_URL")


class TestDataFolder:
    def test_it_is_made_when_it_is_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PUBSUB_DATA", str(tmp_path / "a" / "b"))
        assert environment.folder("PUBSUB_DATA", tmp_path) == tmp_path / "a" / "b"
        assert (tmp_path / "a" / "b").is_dir()

    def test_an_empty_name_is_the_default_and_not_the_current_folder(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PUBSUB_DATA", "")
        assert environment.folder("PUBSUB_DATA", tmp_path) == tmp_path

    @pytest.mark.parametrize("path", ["/proc/nope", "/etc/hostname"])
    def test_what_cannot_be_a_folder_is_refused_by_name(self, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        monkeypatch.setenv("PUBSUB_DATA", path)
        with pytest.raises(ImproperlyConfigured, match=rf"^PUBSUB_DATA: {path} cannot be made a folder: [^:]+\.$"):
            environment.folder("PUBSUB_DATA", ROOT)

    def test_a_secret_key_that_cannot_be_kept_says_where(self, tmp_path: Path) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"cannot be kept in \S+/missing/secret_key: .* Set PUBSUB_DATA"):
            environment.secret_key(tmp_path / "missing" / "secret_key")

    def test_a_secret_key_is_made_once_and_for_its_owner_alone(self, tmp_path: Path) -> None:
        made = environment.secret_key(tmp_path / "secret_key")
        assert environment.secret_key(tmp_path / "secret_key") == made
        assert len(made) > 50
        assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600
