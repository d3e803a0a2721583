"""Secrets: how they are made, recognised and kept (DESIGN.md §6a).

A key is 40 hexadecimal digits. An instance's API key ends in an odd digit, account and user keys end in an even one
(wire/syncano.md §3), so a look-up knows its table. Only a SHA-256 digest is stored; where a login hands a key out again,
a copy is kept sealed (Fernet) beside it.
"""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from channels_app.conf import conf

KEY_LENGTH = 40
PREFIX_LENGTH = 8
_KEY = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A new secret: `text` is for its owner, once; the other two are stored."""

    text: str = field(repr=False)
    digest: str
    prefix: str

    @property
    def sealed(self) -> str:
        return seal(self.text)


def new_api_key() -> Secret:
    return _new(odd=True)


def new_account_key() -> Secret:
    return _new(odd=False)


def new_administrator_key() -> Secret:
    return _new(odd=False)


def new_user_key() -> Secret:
    return _new(odd=False)


def _new(*, odd: bool) -> Secret:
    text = secrets.token_hex(KEY_LENGTH // 2)[:-1] + secrets.choice("13579bdf" if odd else "02468ace")
    return Secret(text, digest(text), text[:PREFIX_LENGTH])


def digest(text: str) -> str:
    """Keys are long and random: a fast digest is as safe as a slow password hasher, and costs a request nothing."""
    return hashlib.sha256(text.lower().encode("utf-8", "replace")).hexdigest()


def masked(prefix: str) -> str:
    """How a key is shown when it cannot be shown any more: its first digits, then dots."""
    return prefix.ljust(KEY_LENGTH, "•")


class Credentials(NamedTuple):
    """What a request brought, as digests: safe to keep as long as a connection lives. Empty: not given.

    `account` and `account_key` are what some dialects name beside the secret: it must be that account's, or that key's.
    """

    api_key: str = ""
    user_key: str = ""
    is_account: bool = False
    is_well_formed: bool = True
    account: UUID | None = None
    account_key: UUID | None = None
    prefix: str = ""  # of the key, as lists show it: for logs

    @classmethod
    def of(cls, api_key: str | None, user_key: str | None = None) -> "Credentials":
        user_digest = digest(user_key) if user_key else ""
        if not api_key:
            return cls(user_key=user_digest)
        key = api_key.lower()
        is_account, is_well_formed = key[-1] in "02468ace", _KEY.fullmatch(key) is not None
        return cls(digest(key), user_digest, is_account, is_well_formed, prefix=key[:PREFIX_LENGTH])

    @classmethod
    def of_account(cls, account: UUID, secret: str) -> "Credentials":
        """That account's own key."""
        return cls._of_administrator(secret)._replace(account=account)

    @classmethod
    def of_account_key(cls, key: UUID, secret: str) -> "Credentials":
        """A further key of an account."""
        return cls._of_administrator(secret)._replace(account_key=key)

    @classmethod
    def _of_administrator(cls, secret: str) -> "Credentials":
        return cls(api_key=digest(secret), is_account=True, prefix=secret[:PREFIX_LENGTH])


def seal(text: str) -> str:
    return _fernet().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises ImproperlyConfigured when it was sealed with another key."""
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise ImproperlyConfigured(
            "SECRET_KEY (or PUBSUB_SEAL_KEYS) is not the one that the stored keys were sealed with. "
            "Put it back: a generated one was kept in data/secret_key (docs/operations.md, Backup)."
        ) from None


def _fernet() -> MultiFernet:
    keys = conf.SEAL_KEYS or [
        base64.urlsafe_b64encode(hashlib.sha256(b"seal:" + settings.SECRET_KEY.encode()).digest()).decode()
    ]
    return MultiFernet([Fernet(key) for key in keys])
