"""How coroutines reach the database: in a few threads, with connections that heal themselves.

None of them waits for ever, for a database that has stopped answering or for a thread that waits for it. The threads are not
those of the event loop's default executor: there Django logs the requests it refuses, and would queue behind threads that wait
for the database.
"""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from channels_app.conf import conf

P = ParamSpec("P")
T = TypeVar("T")

_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="database")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a thread and return its result. The thread's connection is given back, or kept if it costs nothing.

    Raises OperationalError when it takes longer than `conf.PUBLISH_TIMEOUT`: what has not begun by then never does.
    """
    work = asyncio.get_running_loop().run_in_executor(_threads, functools.partial(with_connection, function, *args, **kwargs))
    try:
        # Not wait_for: before Python 3.12 it forgets that it was cancelled when the work is done in the same moment.
        async with asyncio.timeout(conf.PUBLISH_TIMEOUT):
            return await work
    except TimeoutError:
        raise OperationalError("The database did not answer in time.") from None


async def at_leisure(function: Callable[[], T]) -> T:
    """`in_thread` for housekeeping, which may take long."""
    return await asyncio.get_running_loop().run_in_executor(_threads, with_connection, functools.partial(_unhurried, function))


def _unhurried(function: Callable[[], T]) -> T:
    from channels_app.postgres import unhurried  # only now: SQLite needs no driver

    token = unhurried.set(True)
    try:
        return function()
    finally:
        unhurried.reset(token)


def expect_answers() -> None:
    """From now on a PostgreSQL that says nothing for `DATABASE_TIMEOUT` seconds counts as away. For servers."""
    if connection.vendor == "postgresql":
        connection.settings_dict["OPTIONS"]["pool"]["connection_class"].seconds = settings.DATABASE_TIMEOUT


def with_connection(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in this thread, which is no request's: nobody else closes what it opens."""
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError) as error:
        connection.close()  # the next call gets a new one
        raise OperationalError(*error.args) from error  # InterfaceError is no DatabaseError, which is what callers expect
    finally:
        give_back()


def give_back() -> None:
    """This thread needs its connection no more for now. On PostgreSQL it is another's then, and is looked at before."""
    # SQLite: opening costs more than the query, and an idle connection holds nothing.
    if connection.vendor != "sqlite" and not connection.in_atomic_block:
        connection.close()


def missing_migrations() -> int:
    """How many migrations the database still lacks. Raises DatabaseError when it does not answer."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def ping() -> None:
    """Raises DatabaseError or InterfaceError when the database does not answer; it may also take long."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
