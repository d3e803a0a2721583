"""Who is asking: HTTP Basic with `AC…:auth token` or `SK…:secret` (wire/twilio.md §1). Both are an administrator's."""

import base64
import binascii

from channels_app.core import directory
from channels_app.core.credentials import Credentials
from channels_app.core.directory import InstanceInfo
from channels_app.core.errors import InvalidKey, NotFound
from channels_app.core.principals import Principal

from . import sids

NONE_GIVEN = "Authentication Error - No credentials provided"
BAD_USERNAME = "Authentication Error - invalid username"


def credentials(authorization: str) -> Credentials:
    """What the Authorization header brings. Raises InvalidKey."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        raise InvalidKey(NONE_GIVEN)
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidKey(NONE_GIVEN) from None
    username, _, secret = pair.partition(":")
    if account := sids.uuid_of(sids.ACCOUNT, username):
        return Credentials.of_account(account, secret)
    if key := sids.uuid_of(sids.KEY, username):
        return Credentials.of_account_key(key, secret)
    raise InvalidKey(BAD_USERNAME)


def account(asked: Credentials) -> Principal:
    """The administrator; `account` is what the AC SID spells. Raises InvalidKey."""
    return directory.resolve(asked, None)


def service(of: Principal, ref: str) -> InstanceInfo:
    """The account's service of that SID or name. Raises NotFound for others' as for none: only own instances are services."""
    uuid = sids.uuid_of(sids.SERVICE, ref)
    if uuid is None and sids.is_sid(ref):
        raise NotFound("instance")
    found = directory.instance_of_uuid(uuid) if uuid else directory.instance(ref)
    if found.owner_id != of.administrator_id:
        raise NotFound("instance")
    return found
