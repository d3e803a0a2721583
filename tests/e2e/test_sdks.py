"""Syncano's own clients, unmodified, against the real server (wire/syncano.md §11).

PyPI `syncano` 5.4.6 and npm `syncano` 1.0.30, as `tests/sdk/install.py` puts them under build/sdk/.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.install import JS_FOLDER, PYTHON_FOLDER

from .deployment import Deployment

SESSIONS = Path(__file__).parents[1] / "sdk"
MESSAGES = [{"number": 1, "text": "Hello Witchers!"}, {"number": 2, "text": "żółć ☃"}]
NUMBERED = [{"id": id_, "payload": payload} for id_, payload in enumerate(MESSAGES, 1)]


def python_sdk() -> tuple[list[str], dict[str, str]]:
    if not PYTHON_FOLDER.is_dir():
        pytest.fail("The Python SDK is not installed. Run tests/sdk/install.py")
    return [sys.executable, str(SESSIONS / "session.py")], {"PYTHONPATH": str(PYTHON_FOLDER), "SYNCANO_LOGLEVEL": "WARNING"}


def js_sdk() -> tuple[list[str], dict[str, str]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("not applicable: node is not installed")
    if not JS_FOLDER.is_dir():
        pytest.fail("node is here, but the JavaScript SDK is not installed. Run tests/sdk/install.py")
    return [node, str(SESSIONS / "session.js")], {"NODE_PATH": str(JS_FOLDER / "node_modules")}


@pytest.fixture(params=[python_sdk, js_sdk])
def session(request: pytest.FixtureRequest, deployment: Deployment, credentials: dict[str, str]) -> dict[str, Any]:
    """What one user's session with the SDK saw (`tests/sdk/session.*`)."""
    make: Callable[[], tuple[list[str], dict[str, str]]] = request.param
    command, environment = make()
    arguments = [deployment.start().url, credentials["instance"], credentials["account_key"]]
    done = subprocess.run(
        [*command, *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_an_unmodified_sdk_creates_publishes_polls_and_reads_history(session: dict[str, Any]) -> None:
    assert session["created"] == "witchers"
    assert session["got"] == {"name": "witchers", "custom_publish": True}
    assert session["published"] == NUMBERED
    assert session["polled"] == NUMBERED
    assert session["history"] == NUMBERED[::-1]


def test_an_unmodified_sdk_understands_what_it_is_refused(session: dict[str, Any]) -> None:
    assert session["missing"] is True
    assert session["refused"] == {"status": 403, "reason": "Custom publish not allowed on this channel."}
