"""The commands that need no server; `serve` is in tests/e2e."""

import base64
import json
import logging
import re
import warnings
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings

from channels_app.core import directory, publishing, tenancy
from channels_app.core.credentials import Credentials
from channels_app.core.types import CLOSE_REASONS, Draft
from channels_app.dialects.twilio import auth
from channels_app.management.commands import serve
from channels_app.management.failures import in_one_sentence
from channels_app.models import Administrator, AdministratorKey, ApiKey, Instance, InstanceUser
from tests.backends import Backend


def output_of(command: str, *arguments: str) -> str:
    stream = StringIO()
    call_command(command, *arguments, stdout=stream, stderr=StringIO())
    return stream.getvalue()


def principal_of(key: str, instance: str):
    return directory.resolve(Credentials.of(key), directory.instance(instance))


@pytest.mark.django_db
class TestQuickstart:
    def test_prints_a_password_and_a_key_that_work(self) -> None:
        text = output_of("quickstart")
        password = re.search(r"password (\S+)", text)[1]
        key = re.search(r"API key +([0-9a-f]{40})", text)[1]
        assert get_user_model().objects.get(username="admin", is_superuser=True).check_password(password)
        assert principal_of(key, "demo-instance").ignore_acl

    def test_a_second_time_makes_nothing_and_shows_no_secret_that_is_shown_once(self) -> None:
        first = output_of("quickstart")
        second = output_of("quickstart")
        assert re.search(r"API key +([0-9a-f]{40})", first)[1] not in second
        assert "password shown when it was made (lost? manage.py changepassword admin)" in second
        assert (Instance.objects.count(), ApiKey.objects.count(), get_user_model().objects.count()) == (1, 1, 1)

    def test_the_lines_to_paste_have_a_key_that_may_publish_also_the_second_time(self) -> None:
        output_of("quickstart")
        key = re.search(r"X-API-KEY: ([0-9a-f]{40})", output_of("quickstart"))[1]
        assert principal_of(key, "demo-instance").role == "full"

    def test_json_is_one_object_and_nothing_else(self) -> None:
        answer = json.loads(output_of("quickstart", "--json", "--instance", "Kaer-Morhen", "--base-url", "http://kaer:81/"))
        assert list(answer) == ["instance", "account_key", "api_key", "base_url", "twilio"]
        assert (answer["instance"], answer["base_url"]) == ("kaer-morhen", "http://kaer:81")
        assert principal_of(answer["api_key"], "kaer-morhen").ignore_acl
        assert principal_of(answer["account_key"], "kaer-morhen").role == "full"

    def test_json_makes_a_new_key_each_time_and_keeps_the_old_ones(self) -> None:
        keys = [json.loads(output_of("quickstart", "--json"))["api_key"] for _ in range(2)]
        assert keys[0] != keys[1]
        assert all(principal_of(key, "demo-instance").ignore_acl for key in keys)
        assert list(ApiKey.objects.values_list("description", flat=True)) == ["quickstart"] * 2

    def test_its_key_may_make_users_and_groups(self, client: Client) -> None:
        key = json.loads(output_of("quickstart", "--json"))["api_key"]
        for path, fields in (("users", {"username": "jane", "password": "x"}), ("groups", {"label": "staff"})):
            made = client.post(f"/v1.1/instances/demo-instance/{path}/", fields, "application/json", headers={"X-API-KEY": key})
            assert made.status_code == 201

    @pytest.mark.parametrize("url", ["foo", "ftp://kaer", "http://", "http://kaer:port", "kaer:81", "//kaer"])
    def test_an_address_that_no_client_could_use_is_refused(self, url: str) -> None:
        with pytest.raises(CommandError, match="--base-url"):
            output_of("quickstart", "--base-url", url)
        assert not get_user_model().objects.exists()

    @pytest.mark.parametrize("name", ["abc", "with_underscore", "1abcde", "a--bcde", "account", "x" * 65, ""])
    def test_a_name_that_no_instance_may_have_is_refused_and_leaves_nothing_behind(self, name: str) -> None:
        with pytest.raises(CommandError, match="--instance"):
            output_of("quickstart", "--instance", name)
        assert not get_user_model().objects.exists()


@pytest.mark.django_db
class TestQuickstartForTwilio:
    def test_the_account_and_its_key_open_the_service(self) -> None:
        made = json.loads(output_of("quickstart", "--json"))
        told = made["twilio"]
        assert list(told) == ["account_sid", "auth_token", "service_sid", "api_key_sid", "api_key_secret"]
        assert told["auth_token"] == made["account_key"]
        for pair in (("account_sid", "auth_token"), ("api_key_sid", "api_key_secret")):
            username, password = (told[name] for name in pair)
            basic = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
            account = auth.account(auth.credentials(basic))
            assert auth.service(account, told["service_sid"]).name == "demo-instance"

    def test_a_key_is_made_once_and_its_secret_shown_once_except_to_programs(self) -> None:
        first = re.search(r"API key (SK[0-9a-f]{32}) ([0-9a-f]{40})", output_of("quickstart"))
        second = output_of("quickstart")
        assert first is not None
        assert first[2] not in second
        assert "made before, and its secret shown then" in second
        assert AdministratorKey.objects.count() == 1
        assert json.loads(output_of("quickstart", "--json"))["twilio"]["api_key_sid"] != first[1]

    def test_it_says_how_the_helpers_connect(self) -> None:
        text = output_of("quickstart", "--base-url", "http://kaer:81/")
        for line in ('client.sync.base_url = "http://kaer:81"', 'client.sync.baseUrl = "http://kaer:81"'):
            assert line in text


@pytest.mark.django_db
def test_commands_say_when_the_database_lacks_migrations() -> None:
    MigrationRecorder.Migration.objects.filter(app="channels_app").delete()
    for command in ("quickstart", "serve", "trim"):
        with pytest.raises(CommandError, match=r"lacks [1-9][0-9]* migrations\. Run `manage\.py migrate`"):
            output_of(command)


@pytest.mark.django_db
class TestFailures:
    def test_a_mistake_of_the_program_keeps_its_traceback(self) -> None:
        with pytest.raises(ProgrammingError), in_one_sentence():
            raise ProgrammingError("syntax error")

    def test_what_the_database_refuses_while_it_answers_is_one_sentence(self) -> None:
        with pytest.raises(SystemExit, match=r"^database or disk is full\.$"), in_one_sentence():
            raise OperationalError("database or disk is full\nand more")


@pytest.mark.django_db
def test_a_file_that_cannot_be_written_is_no_database(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend.name != "sqlite":
        pytest.skip("SQLite's")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(CommandError, match=r"sqlite3 cannot be used: this user may not write to it\. Check PUBSUB_DATA\.$"):
        output_of("trim")


@pytest.mark.django_db
class TestSealKey:
    COMMANDS = pytest.mark.parametrize("command", ["serve", "quickstart"])
    COMPLAINT = r"^SECRET_KEY \(or PUBSUB_SEAL_KEYS\) is not the one that the stored keys were sealed with\. "

    @COMMANDS
    def test_a_key_that_is_not_the_one_of_the_backup_is_refused_at_the_start(self, command: str) -> None:
        output_of("quickstart")
        before = ApiKey.objects.count()
        with (
            override_settings(SECRET_KEY="another-0123456789-abcdefghijklmnopqrstuvw"),
            pytest.raises(ImproperlyConfigured, match=self.COMPLAINT),
        ):
            output_of(command)
        assert ApiKey.objects.count() == before

    @COMMANDS
    def test_whatever_was_sealed_last_is_tried(self, command: str) -> None:
        output_of("quickstart")
        tenancy.create_user(Instance.objects.get(), username="jane", password="x")
        for model, field in ((Administrator, "key_sealed"), (AdministratorKey, "sealed"), (InstanceUser, "key_sealed")):
            kept = dict(model.objects.values_list("pk", field))
            model.objects.update(**{field: "sealed with another key"})
            with pytest.raises(ImproperlyConfigured, match=self.COMPLAINT):
                output_of(command)
            for pk, sealed in kept.items():
                model.objects.filter(pk=pk).update(**{field: sealed})

    def test_a_key_that_was_rotated_still_counts(self) -> None:
        old, new = (Fernet.generate_key().decode() for _ in range(2))
        with override_settings(PUBSUB={"SEAL_KEYS": [old]}):
            output_of("quickstart")
        with override_settings(PUBSUB={"SEAL_KEYS": [new, old]}):
            output_of("quickstart")


@pytest.mark.django_db(transaction=True)
def test_trim_removes_what_retention_lets_go_and_counts_it() -> None:
    answer = json.loads(output_of("quickstart", "--json"))
    lobby = directory.channel(directory.instance("demo-instance"), "lobby")
    for _ in range(5):
        publishing.publish(principal_of(answer["api_key"], "demo-instance"), lobby, Draft(payload="{}", author="{}"))
    Instance.objects.update(retention_count=2)
    assert "Removed 0 expired channels, 3 messages and 0 rows of deleted channels." in output_of("trim")
    assert "Removed 0 expired channels, 0 messages" in output_of("trim")


def test_explain_knows_every_close_code_and_what_to_do() -> None:
    everything = output_of("explain")
    for each in CLOSE_REASONS:
        text = output_of("explain", str(each.code))
        assert each.reason in text
        assert text in everything


@pytest.mark.parametrize(("code", "advice"), [("4050", "Stop: "), ("4150", "Back off, "), ("4250", "Reconnect now ")])
def test_explain_knows_what_a_code_means_that_a_later_version_may_use(code: str, advice: str) -> None:
    assert re.fullmatch(rf"{code}  not used by this version.*\n +{advice}.*\n", output_of("explain", code))


def test_explain_says_which_codes_there_are() -> None:
    with pytest.raises(CommandError, match=r"4403 is no close code of this server\. It uses 4003, "):
        output_of("explain", "4403")


@pytest.mark.parametrize("address", ["8000", "host:", ":8000", "host:99999", "a:b:8000", "host:-1"])
def test_serve_refuses_an_address_that_is_none(address: str) -> None:
    with pytest.raises(CommandError, match="is no HOST:PORT"):
        output_of("serve", f"--bind={address}")


def test_a_warning_of_pythons_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with warnings.catch_warnings():
        serve.log_warnings()
        warnings.warn("two\nlines", stacklevel=1)
        logging.captureWarnings(False)
    (record,) = caplog.records
    assert re.fullmatch(r"UserWarning: two lines \(\S+:\d+\)", record.getMessage())


@pytest.mark.django_db
def test_renew_epochs_says_how_many() -> None:
    output_of("quickstart")
    assert output_of("renew_epochs") == "3 channels have a new epoch.\n"
