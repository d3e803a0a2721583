"""What the settings read from the environment. Each error names its variable. Imports nothing of Django but its exceptions.

An empty number or yes/no counts as unset; an empty text or list is one.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T", bool, int, float)

_YES_NO = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_WHAT_IT_IS_NOT = {bool: "neither yes nor no", int: "no whole number", float: "no number"}


def given(name: str, kind: Any) -> str | None:
    """What is written there; None: nothing, or nothing that `kind` could be."""
    written = os.environ.get(name)
    return None if written is not None and kind in _WHAT_IT_IS_NOT and not written.strip() else written


def parse(name: str, kind: Any, written: str) -> Any:
    """`written` as a bool, an int, a float, a list[str] or a str. Raises ImproperlyConfigured."""
    if kind == list[str]:
        return [word.strip() for word in written.split(",") if word.strip()]
    if kind is str:
        return written
    try:
        return _YES_NO[written.strip().lower()] if kind is bool else kind(written)
    except (KeyError, ValueError):
        raise ImproperlyConfigured(f"{name} is {written!r}, which is {_WHAT_IT_IS_NOT[kind]}.") from None


def value(name: str, default: T) -> T:
    """Of the type that the default has."""
    written = given(name, type(default))
    return default if written is None else parse(name, type(default), written)


def words(name: str, default: Sequence[str] = ()) -> list[str]:
    """Separated by commas."""
    written = given(name, list[str])
    return list(default) if written is None else parse(name, list[str], written)


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def database(name: str) -> dict[str, Any]:
    """The PostgreSQL database of a URL, as Django's settings have it. The error does not repeat the URL: it has a password."""
    url = text(name)
    try:
        scheme = urlsplit(url).scheme
        found = environ.Env.db_url_config(url) if scheme in ("postgres", "postgresql") else {}
    except ValueError:  # a port that is no number, or what looks like one: a "/" in the password
        scheme, found = "", {}
    if scheme == "sqlite":
        raise ImproperlyConfigured(f"{name} is for PostgreSQL. Unset it to use SQLite; PUBSUB_DATA says where its file goes.")
    if not found.get("NAME"):
        raise ImproperlyConfigured(
            f"{name} must look like postgres://user:password@host:5432/name, with %XX for special characters in the password."
        )
    return found


def folder(name: str, default: Path) -> Path:
    """Made when it is missing."""
    path = Path(text(name) or default).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"{name}: {path} cannot be made a folder: {error.strerror}.") from None
    return path


def secret_key(path: Path) -> str:
    """The secret key kept in `path`, which is made (mode 0600) on the first start."""
    try:
        if not path.exists():
            _create_secret_key(path)
        return path.read_text()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The secret key cannot be kept in {path}: {error.strerror}. "
            "Set PUBSUB_DATA to a folder that the server may write to, or set SECRET_KEY."
        ) from None


def _create_secret_key(path: Path) -> None:
    """Several processes may start at once: the key is written to a file of its own and linked into place, so that all of
    them read the one that won, and none reads half of it.
    """
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
