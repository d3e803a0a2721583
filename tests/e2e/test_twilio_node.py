"""Twilio's own Node helper (npm `twilio`), unmodified, against the real server (wire/twilio.md §9)."""

import json
import subprocess
from typing import Any

import pytest

from .deployment import Deployment
from .twilio_driver import node_command


@pytest.fixture(scope="module")
def session(template, tmp_path_factory) -> dict[str, Any]:
    """What one user's session with the helper saw (tests/sdk/twilio_rest.js)."""
    command, environment = node_command("twilio_rest.js")
    deployment: Deployment = template.deploy(tmp_path_factory.mktemp("twilio-node"))
    server = deployment.start()
    twilio = template.credentials["twilio"]
    done = subprocess.run(
        [*command, server.url, twilio["account_sid"], twilio["auth_token"]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    server.kill()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in server.log()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def refusal(status: int, code: int) -> dict[str, Any]:
    return {"is": "RestException", "status": status, "code": code, "moreInfo": f"https://www.twilio.com/docs/errors/{code}"}


def test_a_service_is_created_updated_listed_and_removed(session: dict[str, Any]) -> None:
    assert session["service"] == {
        "created": "farm",
        "updated": {"friendlyName": "barn", "aclEnabled": True},
        "listed": True,
        "removed": True,
        "gone": refusal(404, 20404),
    }


def test_a_stream_is_created_published_to_updated_and_removed(session: dict[str, Any]) -> None:
    assert session["stream"] == {
        "created": {"uniqueName": "heatmap", "createdBy": "system", "lives": 3_600_000},
        "message": {"sid": "TZ", "length": 34, "data": {"x": 256, "text": "żółć ☃"}},
        "updated": None,
        "removed": True,
        "gone": refusal(404, 20404),
    }


def test_every_refusal_is_the_helpers_own_exception(session: dict[str, Any]) -> None:
    assert session["refusals"] == {
        "credentials": refusal(401, 20003),
        "name": refusal(409, 54301),
        "ttl": refusal(400, 54011),
        "nothing": refusal(400, 54010),
        "missing": refusal(404, 20404),
        "type": refusal(400, 54008),
        "size": refusal(413, 54006),
        "page": refusal(400, 54454),
    }


def test_the_helper_pages_through_250_streams(session: dict[str, Any]) -> None:
    assert session["paging"] == {"made": 250, "different": 250, "limited": 120}


def test_a_burst_on_one_stream_is_limited_there_only_and_for_a_moment(session: dict[str, Any]) -> None:
    burst = session["burst"]
    assert set(burst["outcomes"]) == {"ok", "429/54009"}
    assert burst["outcomes"]["ok"] >= 30
    assert burst["quiet"] == burst["later"] == "ok"
