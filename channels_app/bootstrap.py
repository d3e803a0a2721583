"""What settings need before Django is set up. Imports nothing of Django."""

import os
import secrets
from pathlib import Path


def load_or_create_secret_key(path: Path) -> str:
    """Return the secret key kept in `path`, making it (mode 0600) on the first start.

    Several processes may start at once: the key is written to a file of its own and linked into place, so that all of
    them read the one that won, and none reads half of it.
    """
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process won: its key is the one that counts
        finally:
            draft.unlink()
    return path.read_text()
