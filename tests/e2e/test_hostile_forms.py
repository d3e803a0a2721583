"""Bad input over Twilio's API on the real server: no 5xx, no traceback, and every refusal in the one shape there is."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, note

from .deployment import Template
from .hostile_forms import SERVICE, STREAM, attempts
from .hostile_requests import Attempt
from .hostile_target import HALF_MADE, NO_HTTP, Target
from .rows import count
from .sync_service import SyncService, is_error
from .test_hostile import TORTURE, examples

LIFTED = {"PUBSUB_TWILIO_STREAM_RATE": "0", "PUBSUB_MAX_INSTANCES": "100000", "PUBSUB_RETENTION_INTERVAL": "3600"}


@pytest.fixture(scope="module")
def target(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    deployment = template.deploy(tmp_path_factory.mktemp("forms"))
    server = deployment.start(**LIFTED)
    target = Target(deployment, server, template.credentials["instance"], {})
    yield target
    server.terminate()
    print(target.report())


@pytest.mark.timeout(1_800 if TORTURE else 120)
def test_no_form_breaks_the_server(target: Target, template: Template) -> None:
    service = SyncService(target.server, template.credentials)
    stream = service.create_stream()["sid"]
    pair = f"{service.credentials['account_sid']}:{service.credentials['auth_token']}"

    @examples(full=5_000, short=700)
    @given(attempt=attempts(pair))
    def send(attempt: Attempt) -> None:
        attempt = replace(attempt, path=attempt.path.replace(SERVICE, service.sid).replace(STREAM, stream))
        note(repr(attempt))
        target.sent["requests"] += 1
        answer = target.exchange(attempt.encode(""), attempt.method, attempt.framing == "long")
        target.statuses[str(answer.status) if answer else "no answer"] += 1
        if answer is None:
            assert not attempt.must_be_answered
            return
        assert answer.status < 500, answer
        if answer.status >= 400 and answer.body != NO_HTTP and attempt.method != "HEAD":
            assert is_error(answer.status, json.loads(answer.body)), answer
        assert "Traceback" not in target.new_log()

    send()
    for description, sql in HALF_MADE.items():
        assert count(target.deployment, sql) == 0, description
    assert service.publish(service.create_stream()["sid"], "{}").status_code == 201
