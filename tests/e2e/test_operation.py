"""The first minutes of an operator: quickstart's lines work as printed, and `serve` refuses what would not."""

import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.backends import Backend

from .deployment import ROOT, Deployment, channel_path


def curl(line: str) -> httpx.Response:
    """Do what the curl line says, split as a shell does."""
    program, *words = shlex.split(line)
    assert program == "curl"
    options = list(zip(words[:-1:2], words[1:-1:2], strict=True))
    headers = dict(value.split(": ", 1) for name, value in options if name == "-H")
    bodies = [value for name, value in options if name == "-d"]
    return httpx.request("POST" if bodies else "GET", words[-1], headers=headers, content="".join(bodies), timeout=30)


def test_the_lines_that_quickstart_prints_work_as_printed(deployment: Deployment) -> None:
    server = deployment.start()
    text = deployment.manage("quickstart", "--instance", "first-steps", "--base-url", server.url).stdout
    poll, publish, history = re.findall(r"^ +(curl .+)$", text, re.MULTILINE)
    with ThreadPoolExecutor() as pool:
        polling = pool.submit(curl, poll)
        published = [curl(publish)]
        while not polling.done():  # it hears the first one after it has joined
            published.append(curl(publish))
    assert {answer.status_code for answer in published} == {201}
    assert polling.result().json()["payload"] == {"text": "Hello"}
    assert curl(history).json()["objects"][0]["id"] == len(published)


def test_the_access_log_has_no_keys(deployment: Deployment, credentials: dict[str, str]) -> None:
    server = deployment.start("uvicorn", "--access-log")
    key = credentials["api_key"]
    path = channel_path(credentials["instance"], "lobby")
    assert httpx.get(f"{server.url}{path}history/?api_key={key}").status_code == 200
    server.terminate()
    assert f"{path}history/?api_key={key[:8]}…" in server.log()
    assert key not in server.log()


def test_serve_refuses_a_default_secret(deployment: Deployment) -> None:
    refused = deployment.manage("serve", SECRET_KEY="change-me")
    assert refused.returncode == 1
    assert "pubsub.E004" in refused.stderr


def test_serve_refuses_several_processes_without_postgresql_and_redis(deployment: Deployment) -> None:
    refused = deployment.manage("serve", PUBSUB_PROCESSES="2", DATABASE_URL="", REDIS_URL="")
    assert refused.returncode == 1
    assert "pubsub.E001" in refused.stderr
    assert "pubsub.E002" in refused.stderr


def test_serve_says_that_its_port_is_taken(deployment: Deployment, backend: Backend) -> None:
    other = deployment.start("daphne")
    for workers in ([], ["--workers", "2"]) if backend.several_processes else ([],):
        refused = deployment.manage("serve", "--bind", f"127.0.0.1:{other.port}", *workers)
        assert refused.returncode != 0
        assert refused.stderr.splitlines() == [
            f"CommandError: 127.0.0.1:{other.port}: Address already in use. Choose another address: "
            "manage.py serve --bind HOST:PORT, or make run PORT=9000."
        ]


def test_on_sqlite_a_running_server_has_its_file_for_itself(deployment: Deployment, backend: Backend) -> None:
    if backend.name != "sqlite":
        pytest.skip("SQLite's")
    server = deployment.start()
    for command, advice in (("serve", "several processes cannot share a SQLite log"), ("renew_epochs", "stop it first.")):
        refused = deployment.manage(command)
        assert refused.returncode == 1
        assert f"A server uses {deployment.folder}/pubsub.sqlite3: {advice}" in refused.stderr
    server.terminate()
    assert deployment.manage("renew_epochs").stdout == "3 channels have a new epoch.\n"


def test_a_file_is_sent_without_a_warning(deployment: Deployment) -> None:
    server = deployment.start(LOG_FORMAT="json")
    assert httpx.get(f"{server.url}/static/admin/css/base.css").status_code == 200
    server.terminate()
    listening, *lines = server.log().splitlines()
    assert listening.startswith("Listening on ")
    assert [json.loads(line)["logger"] for line in lines] == ["channels_app.server.uvicorn_server"]  # it drains


def test_commands_say_that_the_database_is_away(deployment: Deployment) -> None:
    away = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "DATABASE_POOL_TIMEOUT": "0.5"}
    for command in ("serve", "quickstart", "trim", "renew_epochs", "migrate", "changepassword"):
        done = deployment.manage(command, **away)
        assert done.returncode == 1
        assert "The database does not answer" in done.stderr
        assert "Connection refused. Check DATABASE_URL." in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_database_that_is_none_is_named_with_the_cause(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "pubsub.sqlite3").write_bytes(b"garbage" * 1000)
    for command in ("serve", "quickstart", "trim", "migrate", "changepassword"):
        done = deployment.manage(command, DATABASE_URL="", PUBSUB_DATA=str(tmp_path))
        assert done.returncode == 1
        assert f"{tmp_path}/pubsub.sqlite3 cannot be used: file is not a database. Check PUBSUB_DATA." in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [("DEBUG", "ja"), ("DATABASE_URL", "mysql://u:p@h/n"), ("PUBSUB_DATA", "/proc/nope"), ("PUBSUB_DATA", "/etc/hostname")],
)
def test_a_wrong_setting_is_one_sentence_for_every_command(deployment: Deployment, name: str, text: str) -> None:
    for command in ("serve", "migrate"):
        done = deployment.manage(command, **{name: text})
        assert done.returncode == 1
        assert name in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_with_traceback_a_wrong_setting_has_one(deployment: Deployment) -> None:
    done = deployment.manage("migrate", "--traceback", DEBUG="ja")
    assert done.stderr.startswith("Traceback")
    assert "ImproperlyConfigured: DEBUG is 'ja'" in done.stderr


def test_without_tables_a_command_of_djangos_says_so(deployment: Deployment, tmp_path: Path) -> None:
    done = deployment.manage("changepassword", "admin", DATABASE_URL="", PUBSUB_DATA=str(tmp_path / "new"))
    assert done.returncode == 1
    assert re.search(r"no such table: .+\. The database lacks \d+ migrations\. Run `manage\.py migrate` first\.$", done.stderr)


def test_a_python_without_django_is_told_which_one_has_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "manage.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "This Python has no Django: use .venv/bin/python manage.py …, or pip install -r requirements.txt first."
    ]


@pytest.mark.parametrize("page", ["settings.md", "operations.md"])
def test_the_pages_quote_serve_as_it_speaks(deployment: Deployment, page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    (variables, quoted) = re.search(r"^    \$ (.*?) python manage\.py serve\n((?:    .*\n|\n)+)", text, re.MULTILINE).groups()
    alone = {"DATABASE_URL": "", "REDIS_URL": ""}
    refused = deployment.manage("serve", **alone, **dict(each.split("=") for each in variables.split()))
    assert refused.stderr.split() == quoted.split()
