"""How coroutines reach the database: in the event loop's own threads, with connections that heal themselves."""

import asyncio
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections, connection

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a thread and return its result. The thread's connection is given back, or kept if it costs nothing."""
    return await asyncio.get_running_loop().run_in_executor(None, functools.partial(with_connection, function, *args, **kwargs))


def with_connection(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in this thread, which is no request's: nobody else closes what it opens."""
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError):
        connection.close()  # the next call gets a new one
        raise
    finally:
        # SQLite: opening costs more than the query, and an idle connection holds nothing. PostgreSQL: back to the pool.
        if connection.vendor != "sqlite":
            close_old_connections()
