"""Access Tokens: what an app's backend signs with an API key's secret for its clients (wire/twilio.md §8).

JWT, HS256, `cty: twilio-fpa;v=1`; `iss` names the key and `sub` its account; the grants name the identity and the service.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard
from uuid import UUID

import jwt

from channels_app.core.directory import SigningKey

from .. import sids

ALGORITHM = "HS256"
CONTENT_TYPE = "twilio-fpa;v=1"
CLOCK_SKEW = 10  # seconds that the backend's clock may be ahead of ours
MAX_TOKEN = 16 * 1024  # characters
LAST_MOMENT = 253_402_300_799  # the end of the year 9999: what is later is no date, and too much for a clock
MAX_IDENTITY = 256  # characters, as Twilio has it

INVALID, INVALID_HEADER, INVALID_ISSUER, EXPIRED, TOO_EARLY, INVALID_GRANTS, INVALID_SIGNATURE = range(20101, 20108)
_MESSAGES = {
    INVALID: "Invalid Access Token",
    INVALID_HEADER: "Invalid Access Token header",
    INVALID_ISSUER: "Invalid Access Token issuer/subject",
    EXPIRED: "Access Token expired or expiration date invalid",
    TOO_EARLY: "Access Token not yet valid",
    INVALID_GRANTS: "Invalid Access Token grants",
    INVALID_SIGNATURE: "Invalid Access Token signature",
}


class TokenError(Exception):
    """`code` is Twilio's; the status is always 401."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.message = _MESSAGES[code]
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a good token says. `expires_at` is in seconds since 1970."""

    key: UUID
    service: str  # SID or name
    identity: str
    expires_at: int


def verify(token: object, find_key: Callable[[UUID], SigningKey | None]) -> Grant:
    """Raises TokenError. `find_key` is asked once, before anything of the token is believed."""
    if not isinstance(token, str) or not token or len(token) > MAX_TOKEN or not token.isascii():
        raise TokenError(INVALID)
    issuer = _issuer(token)
    key = find_key(issuer)
    if key is None:
        raise TokenError(INVALID_ISSUER)
    claims = _claims(token, key.secret)
    if claims.get("sub") != sids.sid(sids.ACCOUNT, key.account):
        raise TokenError(INVALID_ISSUER)
    service, identity = _grants(claims.get("grants"))
    return Grant(issuer, service, identity, int(claims["exp"]))


def _issuer(token: str) -> UUID:
    """The key that the token says it is signed with."""
    try:
        header = jwt.get_unverified_header(token)
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise TokenError(INVALID) from None
    if header.get("alg") != ALGORITHM or header.get("cty") != CONTENT_TYPE:
        raise TokenError(INVALID_HEADER)
    key = sids.uuid_of(sids.KEY, issuer) if isinstance(issuer, str) else None
    if key is None:
        raise TokenError(INVALID_ISSUER)
    return key


def _claims(token: str, secret: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token, secret, algorithms=[ALGORITHM], leeway=CLOCK_SKEW, options={"require": ["exp"], "verify_aud": False}
        )
    except jwt.InvalidSignatureError:
        raise TokenError(INVALID_SIGNATURE) from None
    except (jwt.ExpiredSignatureError, jwt.MissingRequiredClaimError):
        raise TokenError(EXPIRED) from None
    except jwt.ImmatureSignatureError:
        raise TokenError(TOO_EARLY) from None
    except (jwt.InvalidTokenError, OverflowError):
        raise TokenError(INVALID) from None
    # The leeway is for clocks that are ahead, not for tokens that are over.
    if not time.time() < int(claims["exp"]) <= LAST_MOMENT:
        raise TokenError(EXPIRED)
    return claims


def _grants(grants: Any) -> tuple[str, str]:
    """The service and the identity."""
    sync = grants.get("data_sync") if isinstance(grants, dict) else None
    service = sync.get("service_sid") if isinstance(sync, dict) else None
    identity = grants.get("identity") if isinstance(grants, dict) else None
    if not (_is_text(service) and _is_text(identity) and len(identity) <= MAX_IDENTITY):
        raise TokenError(INVALID_GRANTS)
    return service, identity


def _is_text(value: Any) -> TypeGuard[str]:
    """Whether it can be stored: without a NUL, and without half of a surrogate pair, which is no character."""
    if not isinstance(value, str) or not value or "\x00" in value:
        return False
    return value.encode("utf-8", "replace").decode() == value
