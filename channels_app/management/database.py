"""What every command needs of the database before it starts."""

from django.core.management.base import CommandError
from django.db import DatabaseError

from channels_app.core.database import missing_migrations


def require_migrated() -> None:
    """Raises CommandError, saying what to do, when the database does not answer or has not got its tables."""
    try:
        missing = missing_migrations()
    except DatabaseError as error:
        raise CommandError(f"The database does not answer: {error}") from error
    if missing:
        raise CommandError(f"The database lacks {missing} migrations. Run `manage.py migrate` first.")
