"""What a command says when the settings or the database are wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError, OperationalError


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Around any command: such a failure is one sentence, as a CommandError is; with --traceback it is all there is to see."""
    try:
        yield
    except (ImproperlyConfigured, DatabaseError) as error:
        sentence = str(error) if isinstance(error, ImproperlyConfigured) else _of_database(error)
        if sentence is None or "--traceback" in sys.argv:
            raise
        sys.exit(sentence)


def _of_database(error: DatabaseError) -> str | None:
    """None: the database is as it should be, and the mistake one of the program's."""
    from .database import cause, require_answer, require_migrated  # only now: it needs Django set up

    try:
        require_answer()
    except CommandError as unusable:
        return str(unusable)
    try:
        require_migrated()
    except CommandError as unusable:
        return f"{cause(error)}. {unusable}"
    return f"{cause(error)}." if isinstance(error, OperationalError) else None
