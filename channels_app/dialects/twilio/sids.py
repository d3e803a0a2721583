"""SIDs: two capitals and 32 hexadecimal digits (wire/twilio.md §1). They spell what is stored anyway; nothing keeps them."""

import re
import secrets
from functools import lru_cache, partial
from hashlib import blake2b
from uuid import UUID

from channels_app.core.types import Message

ACCOUNT, KEY, SERVICE, STREAM, MESSAGE, REQUEST = "AC", "SK", "IS", "TO", "TZ", "RQ"

_SID = re.compile(r"[A-Z]{2}[0-9a-fA-F]{32}")
_LENGTH = 34


def is_sid(text: str) -> bool:
    """Whether a path can mean nothing but a SID by it, of whatever kind."""
    return _SID.fullmatch(text) is not None


def sid(kind: str, uuid: UUID) -> str:
    return f"{kind}{uuid.hex}"


account_sid, key_sid, service_sid, stream_sid = (partial(sid, kind) for kind in (ACCOUNT, KEY, SERVICE, STREAM))


def uuid_of(kind: str, text: str) -> UUID | None:
    """What the SID spells; None for what is no SID of that kind."""
    return _uuid_of(kind, text) if len(text) == _LENGTH else None  # what is kept is short, whatever anybody sends


@lru_cache(maxsize=1024)  # every publish asks for the same two
def _uuid_of(kind: str, text: str) -> UUID | None:
    return UUID(text[2:]) if is_sid(text) and text.startswith(kind) else None


def message_sid(stream: UUID, message: Message) -> str:
    """Always the same for a message, and no other message's: not even where a restored backup gives out an id again."""
    told = f"{stream.hex}.{message.id}.{message.created_at}"
    return MESSAGE + blake2b(told.encode(), digest_size=16).hexdigest()


def request_sid() -> str:
    return REQUEST + secrets.token_hex(16)
