"""The first minutes of an operator: quickstart's lines work as printed, and `serve` refuses what would not."""

import re
import shlex
from concurrent.futures import ThreadPoolExecutor

import httpx

from .deployment import Deployment, channel_path


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


def test_serve_says_that_its_port_is_taken(deployment: Deployment) -> None:
    other = deployment.start("daphne")
    refused = deployment.manage("serve", "--bind", f"127.0.0.1:{other.port}")
    assert refused.returncode != 0
    assert "address already in use" in refused.stderr


def test_commands_say_that_the_database_is_away(deployment: Deployment) -> None:
    away = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "DATABASE_POOL_TIMEOUT": "0.5"}
    for command in ("serve", "quickstart", "trim"):
        done = deployment.manage(command, **away)
        assert done.returncode == 1
        assert "The database does not answer" in done.stderr
        assert "Traceback" not in done.stderr
