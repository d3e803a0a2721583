"""What every command needs of the database before it starts."""

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


def require_migrated() -> None:
    """Raises CommandError, saying what to do, when the database does not answer or has not got its tables."""
    try:
        executor = MigrationExecutor(connection)
    except DatabaseError as error:
        raise CommandError(f"The database does not answer: {error}") from error
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise CommandError(f"The database lacks {len(missing)} migrations. Run `manage.py migrate` first.")
