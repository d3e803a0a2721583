"""npm `twilio-sync` and `twilio`, unmodified, in a node process that a test drives (tests/sdk/twilio_driver.js)."""

import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.install import JS_FOLDER

SCRIPTS = Path(__file__).parents[1] / "sdk"
PATIENCE = 20  # seconds for an answer, or for an event


class SdkError(Exception):
    """What the SDK rejected a call with."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        self.name, self.status, self.code = error["name"], error.get("status"), error.get("code")
        super().__init__(f"{self.name} {self.status}/{self.code}: {error['message']}")


def node_command(script: str) -> tuple[list[str], dict[str, str]]:
    """How to run one of the scripts of tests/sdk with the SDKs; skips the test where there is no node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("not applicable: node is not installed")
    if not (JS_FOLDER / "installed.txt").exists():
        pytest.fail("node is here, but the JavaScript SDKs are not installed. Run tests/sdk/install.py")
    return [node, str(SCRIPTS / script)], os.environ | {"NODE_PATH": str(JS_FOLDER / "node_modules")}


class Driver:
    """Any number of SyncClients, by names of the test's choosing, and all that they have told so far."""

    def __init__(self) -> None:
        command, environment = node_command("twilio_driver.js")
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._ids = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._told: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def call(self, call: str, **options: Any) -> Any:
        """Raises SdkError."""
        return self.answer(self.begin(call, **options))

    def begin(self, call: str, **options: Any) -> int:
        """As `call`, whose answer the test asks for later."""
        assert self._process.stdin is not None
        id_ = next(self._ids)
        self._process.stdin.write(json.dumps({"id": id_, "call": call, **options}) + "\n")
        self._process.stdin.flush()
        return id_

    def answer(self, id_: int) -> Any:
        with self._changed:
            assert self._changed.wait_for(lambda: id_ in self._answers, PATIENCE), self._told
            answer = self._answers.pop(id_)
        if "error" in answer:
            raise SdkError(answer["error"])
        return answer["result"]

    def told(self, event: str, **by: str) -> list[list[Any]]:
        """The arguments of every such event so far, in order; `by` names the client, the stream."""
        wanted = {"event": event, **by}.items()
        with self._changed:
            return [each["args"] for each in self._told if wanted <= _texts(each).items()]

    def wait(self, event: str, count: int = 1, **by: str) -> list[list[Any]]:
        """As `told`, once there are `count`."""
        self.until(lambda: len(self.told(event, **by)) >= count)
        return self.told(event, **by)

    def until(self, happened: Callable[[], bool]) -> None:
        """Returns once something that was told makes that true."""
        with self._changed:
            assert self._changed.wait_for(happened, PATIENCE), self._told

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            print("node:", line, end="")
            with self._changed:
                self._take(line)
                self._changed.notify_all()

    def _take(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return  # the SDK's own words, for the one who reads a failure
        if "id" in said:
            self._answers[said["id"]] = said
        else:
            self._told.append(said)


def _texts(told: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in told.items() if isinstance(value, str)}
