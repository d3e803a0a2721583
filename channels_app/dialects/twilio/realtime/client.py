"""Who is at the other end of a Twilsock: what its Access Token says, looked up (wire/twilio.md §8)."""

import hashlib
from dataclasses import dataclass

from channels_app.core import directory
from channels_app.core.credentials import Credentials
from channels_app.core.directory import InstanceInfo
from channels_app.core.errors import NotFound
from channels_app.core.principals import Principal

from .. import auth
from . import tokens
from .tokens import INVALID_GRANTS, INVALID_ISSUER, Grant, TokenError


@dataclass(frozen=True, slots=True)
class Client:
    """A token's identity in its service. It may what the key that signed the token may, as of that directory's version."""

    grant: Grant
    service: InstanceInfo
    credentials: Credentials
    as_of: int

    @property
    def identity(self) -> str:
        return self.grant.identity

    @property
    def owner(self) -> tuple[int, str]:
        """Whose session it is: the same before and after a token is renewed."""
        return self.service.id, self.identity

    @property
    def storage_id(self) -> str:
        """Where the SDK keeps what it remembers of streams in the browser's session: not where others keep theirs."""
        return hashlib.sha256(f"{self.service.uuid}/{self.identity}".encode()).hexdigest()[:32]

    def principal(self) -> Principal:
        """Raises InvalidKey once the key is revoked."""
        return directory.resolve(self.credentials, self.service)


def admit(token: object) -> Client:
    """Raises TokenError."""
    as_of = directory.as_of()
    grant = tokens.verify(token, directory.signing_key)
    key = directory.signing_key(grant.key)
    if key is None:  # it was revoked a moment ago
        raise TokenError(INVALID_ISSUER)
    credentials = Credentials.of_account_key(grant.key, key.secret)
    try:
        service = auth.service(auth.account(credentials), grant.service)
    except NotFound:
        raise TokenError(INVALID_GRANTS) from None
    return Client(grant, service, credentials, as_of)
