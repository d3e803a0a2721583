"""Where a request carries its keys (wire/syncano.md §3)."""

import hashlib
from collections.abc import Mapping

from channels_app.core.credentials import Credentials

MAX_REMEMBERED = 10_000


def credentials(headers: Mapping[str, str], query: Mapping[str, str], body: object = None) -> Credentials:
    """The request's keys; of several places the first that has a value wins.

    `headers` has lower-case names, `query` the first value of each parameter; `body` is the parsed body, if there is one.
    """
    fields = body if isinstance(body, dict) else {}
    api_key = (
        _text(headers.get("x-api-key"))
        or _text(query.get("api_key"))
        or _text(query.get("apikey"))
        or _after_the_scheme(headers.get("authorization", ""))
        or _text(fields.get("_api_key"))
    )
    user_key = (
        _text(headers.get("x-user-key"))
        or _text(query.get("user_key"))
        or _text(query.get("userkey"))
        or _text(fields.get("_user_key"))
    )
    return Credentials.of(api_key, user_key)


_remembered: dict[bytes, Credentials] = {}


def header_credentials(headers: Mapping[str, str]) -> Credentials:
    """`credentials` of a request that has no query and whose body does not count.

    Remembered, since most come again and again: under a digest, for no key is kept (and no header has a line break in it).
    """
    places = headers.get("x-api-key", ""), headers.get("x-user-key", ""), headers.get("authorization", "")
    digest = hashlib.sha256("\n".join(places).encode()).digest()
    found = _remembered.get(digest)
    if found is None:
        if len(_remembered) >= MAX_REMEMBERED:
            _remembered.clear()
        found = _remembered[digest] = credentials(headers, {})
    return found


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _after_the_scheme(authorization: str) -> str:
    """`token <key>`, `Bearer <key>`: any one word before it will do; a bare key is no key."""
    words = authorization.split()
    return words[1] if len(words) == 2 else ""
