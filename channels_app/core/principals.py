"""Who is asking, free of any dialect."""

import functools
import json
from dataclasses import dataclass
from uuid import UUID

FULL, WRITE, READ = "full", "write", "read"


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a request's credentials, as `directory.resolve` found it. Anonymous when nothing is set.

    An administrator (account key) has an `account`, and a `role` in the instance asked about; an API key belongs to one
    instance, and may speak for one of its users.
    """

    administrator_id: int = 0
    account: UUID | None = None
    role: str = ""
    api_key_id: int = 0
    instance_id: int = 0
    ignore_acl: bool = False
    allow_user_create: bool = False
    allow_group_create: bool = False
    allow_anonymous_read: bool = False
    user_id: int = 0
    group_ids: frozenset[int] = frozenset()

    @property
    def is_anonymous(self) -> bool:
        return not (self.administrator_id or self.api_key_id)

    @property
    def is_administrator(self) -> bool:
        return bool(self.administrator_id)

    @property
    def is_owner_like(self) -> bool:
        """May change the instance itself, its keys and its people."""
        return self.role == FULL

    @property
    def is_manager(self) -> bool:
        """May create, change and delete channels, and publish and read whatever their permissions."""
        return self.role in (FULL, WRITE) or self.ignore_acl

    @property
    def author_json(self) -> str:
        """What a message says of who published it (wire/syncano.md §3)."""
        return _author_json(self.administrator_id, self.api_key_id, self.user_id)


@functools.lru_cache(maxsize=1024)
def _author_json(administrator_id: int, api_key_id: int, user_id: int) -> str:
    if administrator_id:
        return json.dumps({"admin": administrator_id}, separators=(",", ":"))
    return json.dumps({"api_key": api_key_id} | ({"user": user_id} if user_id else {}), separators=(",", ":"))


ANONYMOUS = Principal()
