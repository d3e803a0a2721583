"""Every failure the core knows, closed and free of any wire.

    PubSubError
    ├── NotFound              retry: no
    ├── InvalidKey            retry: no    the key is unknown here
    ├── PermissionDenied      retry: no
    ├── PublishDisabled       retry: no    the channel takes no custom messages
    ├── Invalid               retry: no    a field has a wrong value
    ├── Conflict              retry: no    clashes with what is there
    ├── QuotaExceeded         retry: no
    ├── Throttled             retry: after `retry_after` seconds
    ├── StoreUnavailable      retry: yes   the log did not answer; whether it has the message is unknown
    └── StoreFull             retry: yes   the disk is full; the log does not have the message

Each dialect has one table from these to its own wire; `tests/contracts/test_errors.py` proves the tables total.
Imports nothing of Django.
"""

from collections.abc import Mapping, Sequence


class PubSubError(Exception):
    """Base of all. `code` is stable, `message` is for people, `retryable` says whether the same call may succeed later."""

    code = "error"
    message = "Something went wrong."
    retryable = False

    def __init__(self, message: str = "") -> None:
        self.message = message or type(self).message
        super().__init__(self.message)


class NotFound(PubSubError):
    """`kind` is the word for what is missing: "instance", "channel", "message"…"""

    code = "not_found"
    message = "Not found."

    def __init__(self, kind: str = "", message: str = "") -> None:
        self.kind = kind
        super().__init__(message)


class InvalidKey(PubSubError):
    code = "invalid_key"
    message = "No such API Key."


class PermissionDenied(PubSubError):
    """`rule` names what decided, for `explain` and logs; it is not told to the client."""

    code = "permission_denied"
    message = "You do not have permission to perform this action."

    def __init__(self, rule: str = "", message: str = "") -> None:
        self.rule = rule
        super().__init__(message)


class PublishDisabled(PubSubError):
    code = "publish_disabled"
    message = "Custom publish not allowed on this channel."


class Invalid(PubSubError):
    """`fields` maps a field's name to what is wrong with it."""

    code = "invalid"
    message = "Invalid input."

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self.fields = {name: list(messages) for name, messages in fields.items()}
        super().__init__("; ".join(f"{name}: {' '.join(messages)}" for name, messages in self.fields.items()))


class Conflict(PubSubError):
    code = "conflict"
    message = "This clashes with what is already there."


class QuotaExceeded(PubSubError):
    code = "quota_exceeded"
    message = "Quota exceeded."


class Throttled(PubSubError):
    """`retry_after` is in whole seconds, at least 1."""

    code = "throttled"
    message = "Request was throttled."
    retryable = True

    def __init__(self, retry_after: int = 1, message: str = "") -> None:
        self.retry_after = max(1, retry_after)
        super().__init__(message)


class StoreUnavailable(PubSubError):
    code = "store_unavailable"
    message = "The message log is not available. Try again; an Idempotency-Key makes that safe."
    retryable = True
    retry_after = 1


class StoreFull(PubSubError):
    code = "store_full"
    message = "The disk of the message log is full. Nothing was stored."
    retryable = True
    retry_after = 30


ALL_ERRORS: tuple[type[PubSubError], ...] = (
    NotFound,
    InvalidKey,
    PermissionDenied,
    PublishDisabled,
    Invalid,
    Conflict,
    QuotaExceeded,
    Throttled,
    StoreUnavailable,
    StoreFull,
)
