"""A full disk refuses publishes and nothing else; with room again, ids go on where they stopped (SQLite).

Two ways to run out of room, neither of which needs rights: a limit on the size of the server's files, which can be raised
while it runs; and a real file system of 16 MB, where this user may mount one in a namespace of its own.
"""

import resource
import shutil
import sqlite3
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.backends import Backend

from .deployment import Deployment, channel_path, whole_history

LIMIT = 4 * 1024 * 1024
FILLER = 12 * 1024 * 1024
IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
MOUNT = "mount -t tmpfs -o size=16m none"
PADDING = "x" * 20_000
UNLIMITED = {"PUBSUB_ANONYMOUS_RATE": "", "PUBSUB_FAILED_POLL_RATE": ""}

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def _own_disk(backend: Backend) -> None:
    if backend.name != "sqlite":
        pytest.skip("the disk of PostgreSQL is PostgreSQL's")


@pytest.fixture
def path(credentials: dict[str, str]) -> str:
    return channel_path(credentials["instance"], "lobby")


def fill(client: httpx.Client, path: str) -> tuple[int, httpx.Response]:
    """Publish until it is refused: the last id that was given, and the refusal."""
    last_id = 0
    while True:
        answer = client.post(f"{path}publish/", json={"payload": {"padding": PADDING}})
        if answer.status_code != 201:
            return last_id, answer
        last_id = answer.json()["id"]


def check_full(client: httpx.Client, path: str) -> int:
    """Fill the disk; return the last id of the log, of which everything must still be readable."""
    last_id, refusal = fill(client, path)
    assert refusal.status_code in (503, 507), refusal.text
    assert refusal.headers["Retry-After"]
    refused = [client.post(f"{path}publish/", json={"payload": {"padding": PADDING}}) for _ in range(10)]
    assert {answer.status_code for answer in refused} <= {503, 507}
    assert [message["id"] for message in whole_history(client, path)] == list(range(1, last_id + 1))
    assert client.get(f"{path}history/{last_id}/").status_code == 200
    print(f"\n  Full after {last_id} messages: {refusal.status_code} {refusal.text}")
    return last_id


def check_sound(database: Path, messages: int) -> None:
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT COUNT(*), MAX(id) FROM channels_app_message").fetchone() == (messages, messages)


def test_files_that_may_not_grow(
    deployment: Deployment, credentials: dict[str, str], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = deployment.start(**UNLIMITED)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    with server.client(credentials["api_key"]) as client, capsys.disabled():
        last_id = check_full(client, path)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert client.post(f"{path}publish/", json={}).json()["id"] == last_id + 1
    check_sound(deployment.folder / "pubsub.sqlite3", last_id + 1)


def test_a_file_system_that_is_full(
    deployment: Deployment, credentials: dict[str, str], path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = deployment.folder / "disk"
    disk.mkdir()
    if subprocess.run([*IN_NAMESPACE, f"{MOUNT} {disk}"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system in a namespace")
    deployment.wrapper = (*IN_NAMESPACE, f'{MOUNT} {disk} && cp {deployment.folder}/pubsub.sqlite3 {disk} && exec "$@"', "sh")
    server = deployment.start(**UNLIMITED, PUBSUB_DATA=str(disk))
    seen_from_here = Path(f"/proc/{server.pid}/root{disk}")
    (seen_from_here / "filler").write_bytes(bytes(FILLER))
    with server.client(credentials["api_key"]) as client, capsys.disabled():
        last_id = check_full(client, path)
        (seen_from_here / "filler").unlink()
        assert client.post(f"{path}publish/", json={}).json()["id"] == last_id + 1
    for name in ("pubsub.sqlite3", "pubsub.sqlite3-wal"):
        shutil.copy(seen_from_here / name, tmp_path)
    check_sound(tmp_path / "pubsub.sqlite3", last_id + 1)
