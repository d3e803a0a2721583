"""How coroutines reach the database: in the event loop's own threads, with connections that heal themselves."""

import asyncio
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.db.migrations.executor import MigrationExecutor

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a thread and return its result. The thread's connection is given back, or kept if it costs nothing."""
    return await asyncio.get_running_loop().run_in_executor(None, functools.partial(with_connection, function, *args, **kwargs))


def with_connection(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in this thread, which is no request's: nobody else closes what it opens."""
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError) as error:
        connection.close()  # the next call gets a new one
        raise OperationalError(*error.args) from error  # InterfaceError is no DatabaseError, which is what callers expect
    finally:
        # SQLite: opening costs more than the query, and an idle connection holds nothing. PostgreSQL: back to the pool.
        if connection.vendor != "sqlite":
            close_old_connections()


def missing_migrations() -> int:
    """How many migrations the database still lacks. Raises DatabaseError when it does not answer."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def ping() -> None:
    """Raises DatabaseError or InterfaceError when the database does not answer; it may also take long."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
