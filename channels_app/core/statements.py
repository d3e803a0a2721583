"""How the log's statements reach the database: on PostgreSQL in one round trip, whatever they are, and in one transaction.

A round trip costs more than what most statements do, and a publish holds its channel's lock meanwhile. SQLite has none.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from django.db import connection, transaction

T = TypeVar("T")
Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]  # and its parameters

_to_json = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode


def for_rows(sql: str, rows: Sequence[Row]) -> list[Statement]:
    """The statement with `VALUES …` in place of `{rows}`; several, where they are more than one can take; none for none.

    To name their columns in a way that both databases know: column1, column2…
    """
    return [(sql.format(rows=_values(chunk)), [value for row in chunk for value in row]) for chunk in chunks(rows)]


def for_table(sql: str, columns: Mapping[str, str], rows: Sequence[Row]) -> list[Statement]:
    """As `for_rows`, for rows with texts: the statement has them as the table `new`, with these columns (name → type).

    PostgreSQL gets them as one JSON text: to quote each value by itself costs this process ten times as much.
    """
    names = list(columns)
    if connection.vendor != "postgresql":
        return for_rows(f"WITH new ({', '.join(names)}) AS ({{rows}}) {sql}", rows)
    types = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    # The limit tells the planner how many rows there are.
    table = f"WITH new AS (SELECT * FROM json_to_recordset(%s) AS given ({types}) LIMIT %s)"
    return [(f"{table} {sql}", [_to_json([dict(zip(names, row, strict=True)) for row in rows]), len(rows)])] if rows else []


def _values(rows: Sequence[Row]) -> str:
    return "VALUES " + ", ".join(["(" + ", ".join(["%s"] * len(rows[0])) + ")"] * len(rows))


def chunks(items: Sequence[T], size: int = 500) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def in_one_transaction(*, several_runs: bool) -> AbstractContextManager[None]:
    """For what `run` does within. Where that is one round trip, BEGIN and COMMIT would be two more."""
    if connection.vendor == "postgresql" and not several_runs and not connection.in_atomic_block:
        return nullcontext()  # PostgreSQL makes one transaction of all that one string has
    return transaction.atomic()


def run(cursor: Any, *groups: Sequence[Statement]) -> list[list[Row]]:
    """Run the statements in their order; returns, for each group, the rows that its statements returned."""
    if connection.vendor != "postgresql":
        return [[row for sql, values in group for row in _execute(cursor, sql, values)] for group in groups]
    together = [statement for group in groups for statement in group]
    if not together:
        return [[] for _ in groups]
    rows = _execute(cursor, "; ".join(sql for sql, _ in together), [value for _, values in together for value in values])
    answers: list[list[Row]] = []
    for group in groups:
        answers.append([])
        for _ in group:
            answers[-1] += rows
            rows = _fetch(cursor) if cursor.nextset() else []
    return answers


def _execute(cursor: Any, sql: str, values: Sequence[Any]) -> list[Row]:
    if connection.vendor == "sqlite" and not connection.queries_logged:
        # Past Django's cursor, which turns each %s into a ? by a regular expression: a fifth of what a batch costs.
        with connection.wrap_database_errors:
            rows: list[Row] = connection.connection.execute(_with_question_marks(sql), values).fetchall()
            return rows
    cursor.execute(sql, values)
    return _fetch(cursor)


@functools.lru_cache(maxsize=500)
def _with_question_marks(sql: str) -> str:
    return sql.replace("%s", "?")


def _fetch(cursor: Any) -> list[Row]:
    return cursor.fetchall() if cursor.description else []
