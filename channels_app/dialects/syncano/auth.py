"""Where a request carries its keys (wire/syncano.md §3)."""

from collections.abc import Mapping

from channels_app.core.credentials import Credentials


def credentials(headers: Mapping[str, str], query: Mapping[str, str], body: object = None) -> Credentials:
    """The request's keys; of several places the first that has a value wins.

    `headers` has lower-case names, `query` the first value of each parameter; `body` is the parsed body, if there is one.
    """
    fields = body if isinstance(body, Mapping) else {}
    api_key = _first(
        headers.get("x-api-key"),
        query.get("api_key"),
        query.get("apikey"),
        _after_the_scheme(headers.get("authorization", "")),
        fields.get("_api_key"),
    )
    user_key = _first(headers.get("x-user-key"), query.get("user_key"), query.get("userkey"), fields.get("_user_key"))
    return Credentials.of(api_key, user_key)


def _first(*places: object) -> str:
    for place in places:
        if isinstance(place, str) and (text := place.strip()):
            return text
    return ""


def _after_the_scheme(authorization: str) -> str:
    """`token <key>`, `Bearer <key>`: any one word before it will do; a bare key is no key."""
    words = authorization.split()
    return words[1] if len(words) == 2 else ""
