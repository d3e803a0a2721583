"""Pages by key (wire/twilio.md §5): the position is in `PageToken`, which is opaque; `Page` is the client's own counting."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet

from .errors import MISSING_PARAMETER, TwilioError
from .fields import integer

DEFAULT_SIZE, MAX_SIZE = 50, 100
ACCEPTED_SIZES = range(1, 1_001)  # the helpers ask for as many as they want; they get at most MAX_SIZE
MAX_KEY = 2**63 - 1
_PREFIX = "PT"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page is: on from after that row, or back from before it. Without a key: at the start."""

    key: int | None = None
    forward: bool = True

    def token(self) -> str:
        told = json.dumps({"after" if self.forward else "before": self.key})
        return _PREFIX + base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, token: str) -> "Position":
        """Raises TwilioError."""
        try:
            encoded = token.removeprefix(_PREFIX).encode("ascii")
            told = json.loads(base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
            [(direction, key)] = told.items()
        except (ValueError, AttributeError, binascii.Error, RecursionError):
            raise _bad_token() from None
        known = isinstance(key, int) and not isinstance(key, bool) and 0 <= key <= MAX_KEY
        if not (token.startswith(_PREFIX) and direction in ("after", "before") and known):
            raise _bad_token()
        return cls(key, direction == "after")


def _bad_token() -> TwilioError:
    return TwilioError(400, 54453, "Invalid PageToken")


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was asked for; `url` is the list's own address."""

    url: str
    size: int
    number: int
    position: Position

    @classmethod
    def of(cls, url: str, query: Mapping[str, str]) -> "Page":
        """Raises TwilioError."""
        size = integer(query.get("PageSize", str(DEFAULT_SIZE)))
        if size is None or size not in ACCEPTED_SIZES:
            raise TwilioError(400, 54454, f"Invalid PageSize: {ACCEPTED_SIZES[0]} to {ACCEPTED_SIZES[-1]}")
        number = integer(query.get("Page", "0"))
        if number is None or number < 0:
            raise TwilioError(400, MISSING_PARAMETER, "Invalid Page: a number from 0")
        token = query.get("PageToken")
        return cls(url, min(size, MAX_SIZE), number, Position() if token is None else Position.of(token))

    def read(self, rows: QuerySet[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The rows of the page, in the order in which they were made, and the addresses around it."""
        forward, key = self.position.forward, self.position.key
        found = rows.order_by("pk" if forward else "-pk")
        if key is not None:
            found = found.filter(**{"pk__gt" if forward else "pk__lt": key})
        read = list(found[: self.size + 1])
        page, more = read[: self.size], len(read) > self.size
        if not forward:
            page.reverse()
        return page, self._addresses([row.pk for row in page], more)

    def _addresses(self, keys: Sequence[int], more: bool) -> dict[str, str | None]:
        forward, start = self.position.forward, self.position.key is None
        has_next, has_previous = (more, not start) if forward else (True, more)
        following = Position(keys[-1]) if keys else self.position
        preceding = Position(keys[0], forward=False) if keys else Position(self.position.key, forward=False)
        return {
            "first_page_url": self._address(0, Position()),
            "previous_page_url": self._address(max(0, self.number - 1), preceding) if has_previous else None,
            "url": self._address(self.number, self.position),
            "next_page_url": self._address(self.number + 1, following) if has_next and keys else None,
        }

    def _address(self, number: int, position: Position) -> str:
        query = {"PageSize": self.size, "Page": number}
        token = {} if position.key is None else {"PageToken": position.token()}
        return f"{self.url}?{urlencode({**query, **token})}"


def listing(key: str, page: Page, addresses: Mapping[str, Any], objects: Sequence[Any]) -> dict[str, Any]:
    """The body of a list; `key` names what it holds."""
    return {"meta": {"page": page.number, "page_size": page.size, **addresses, "key": key}, key: list(objects)}
