"""What commands need of the database before they start."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from channels_app.core.credentials import unseal
from channels_app.core.database import missing_migrations
from channels_app.models import Administrator, AdministratorKey, InstanceUser


def require_answer() -> None:
    """Raises CommandError with the cause when the database cannot be used.

    One attempt, without the pool: that one would try for seconds and keep the cause to itself.
    """
    alone = connection.copy()
    alone.settings_dict["OPTIONS"].pop("pool", None)
    try:
        alone.ensure_connection()
    except DatabaseError as error:
        raise _unusable(cause(error)) from error
    finally:
        alone.close()
    if connection.vendor == "sqlite" and not os.access(connection.settings_dict["NAME"], os.W_OK):
        raise _unusable("this user may not write to it")


def _unusable(why: str) -> CommandError:
    if connection.vendor == "sqlite":
        return CommandError(f"The database {connection.settings_dict['NAME']} cannot be used: {why}. Check PUBSUB_DATA.")
    return CommandError(f"The database does not answer: {why}. Check DATABASE_URL.")


def cause(error: Exception) -> str:
    """What PostgreSQL adds below are guesses, and further attempts."""
    return str(error).partition("\n")[0].strip().rstrip(".")


def require_migrated() -> None:
    """Raises CommandError, saying what to do, when the database cannot be used or has not got its tables."""
    require_answer()
    try:
        missing = missing_migrations()
    except DatabaseError as error:
        raise _unusable(cause(error)) from error
    if missing:
        raise CommandError(f"The database lacks {missing} migrations. Run `manage.py migrate` first.")


def require_seal_key() -> None:
    """Raises ImproperlyConfigured when the newest of what is stored cannot be unsealed: else somebody's request finds out."""
    for rows in (
        Administrator.objects.values_list("key_sealed", flat=True),
        AdministratorKey.objects.values_list("sealed", flat=True),
        InstanceUser.objects.values_list("key_sealed", flat=True),
    ):
        newest = rows.order_by("-pk").first()
        if newest is not None:
            unseal(newest)


@contextmanager
def sole_user_of_sqlite(advice: str) -> Iterator[None]:
    """One server for one SQLite file: holds the lock beside it, which the kernel frees with the process, however that ends."""
    if connection.vendor != "sqlite":
        yield
        return
    name = connection.settings_dict["NAME"]
    with Path(f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"A server uses {name}: {advice}") from None
        yield
