"""The message table may be cut into partitions by hand; the lines are those of docs/scaling.md, and no code knows of it."""

import re

import psycopg
import pytest

from tests.backends import Backend

from .deployment import ROOT, Deployment, channel_path, whole_history
from .rows import channel_id
from .traffic import Listener

SQL = re.search(r"```sql\n(BEGIN;.*?)```", (ROOT / "docs/scaling.md").read_text(), re.DOTALL)


def test_a_partitioned_log_is_the_same_log(backend: Backend, deployment: Deployment, credentials: dict[str, str]) -> None:
    if backend.name != "postgres":
        pytest.skip("SQLite has no partitions")
    assert SQL
    path, key = channel_path(credentials["instance"], "lobby"), credentials["api_key"]

    server = deployment.start()
    with server.client(key) as client:
        assert [client.post(f"{path}publish/", json={"payload": {"n": n}}).json()["id"] for n in (1, 2, 3)] == [1, 2, 3]
        before = whole_history(client, path)
    server.terminate()

    channel = channel_id(deployment, credentials["instance"], "lobby")
    with psycopg.connect(deployment.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(SQL[1].encode())
        plan = connection.execute("EXPLAIN SELECT * FROM channels_app_message WHERE channel_id = %s AND id > 1", [channel])
        assert len(set(re.findall(r"channels_app_message_\d+", str(plan.fetchall())))) == 1, "a read looks at one partition"

    server.start()
    with server.client(key) as client:
        assert whole_history(client, path) == before
        listener = Listener(server, key, path, last_id=1, count=4)
        assert [client.post(f"{path}publish/", json={"payload": {"n": n}}).json()["id"] for n in (4, 5)] == [4, 5]
        assert listener.join().ids == [2, 3, 4, 5]
        assert client.delete(path).status_code == 204
    checked = deployment.manage("makemigrations", "--check", "--dry-run")
    assert checked.returncode == 0, checked.stdout
