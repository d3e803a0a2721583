"""A look into a deployment's database from outside, past the server, and rows put there in bulk."""

import sqlite3
import time
from contextlib import closing
from typing import Any

import psycopg

from .deployment import Deployment

Rows = list[tuple[Any, ...]]


def query(deployment: Deployment, sql: str) -> Rows:
    """Run one statement that both databases understand, and commit it."""
    if url := deployment.environment.get("DATABASE_URL"):
        with psycopg.connect(url) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(deployment.folder / "pubsub.sqlite3", timeout=30)) as connection, connection:
        return connection.execute(sql).fetchall()


def count(deployment: Deployment, sql: str) -> int:
    """The single number that a query answers."""
    ((number,),) = query(deployment, sql)
    return int(number)


def channel_id(deployment: Deployment, instance: str, channel: str) -> int:
    return count(
        deployment,
        "SELECT c.id FROM channels_app_channel c JOIN channels_app_instance i ON i.id = c.instance_id"
        f" WHERE i.name = '{instance}' AND c.name = '{channel}'",
    )


def messages_in(deployment: Deployment, channel: int) -> int:
    return count(deployment, f"SELECT COUNT(*) FROM channels_app_message WHERE channel_id = {channel}")


def fill(deployment: Deployment, channel: int, messages: int) -> None:
    """Append that many messages to an empty default channel, made an hour ago, without a server."""
    query(
        deployment,
        "INSERT INTO channels_app_message (channel_id, id, previous_id, room, created_at, action, author, metadata, payload)"
        f" WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {messages})"
        f""" SELECT {channel}, i, i - 1, '', {_an_hour_ago()} + i, 'custom', '{{}}', '{{"type":"message"}}', '{{}}' FROM n""",
    )
    query(deployment, f"UPDATE channels_app_counter SET last_id = {messages} WHERE channel_id = {channel}")


def _an_hour_ago() -> int:
    return time.time_ns() // 1000 - 3_600_000_000
