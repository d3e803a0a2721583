"""The rules for names and metadata, with the messages that readers of the wire know (wire/syncano.md §4, §7)."""

import re
from typing import Any

from django.core.exceptions import ValidationError

# fmt: off
RESERVED_INSTANCE_NAMES = frozenset({
    "account", "admin", "devcenter", "instance_subdomain", "login", "media", "my_instance", "myinstance", "noinstance",
    "panel", "platform", "public", "redirect", "sentry", "signup", "status", "support", "template1",
})
# fmt: on
METADATA_KEYS = 8
METADATA_KEY_LENGTH = 16
METADATA_VALUE_LENGTH = 4096


def _check_edges(value: str) -> None:
    if not re.match(r"[a-zA-Z]", value):
        raise ValidationError("Value has to start with a letter.")
    if not re.search(r"[a-zA-Z0-9]\Z", value):
        raise ValidationError("Value has to end with a letter or a number.")


def validate_instance_name(value: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9-]+", value):
        raise ValidationError("Enter a valid value consisting of letters, numbers, hyphens.")
    _check_edges(value)
    if "--" in value:
        raise ValidationError("Double hyphens are reserved.")
    if value.lower() in RESERVED_INSTANCE_NAMES:
        raise ValidationError("Unable to use that value. Please choose a different one.")


def validate_channel_name(value: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", value):
        raise ValidationError("Enter a valid value consisting of letters, numbers, underscores, hyphens.")
    _check_edges(value)


def validate_metadata(value: Any) -> None:
    if not isinstance(value, dict) or any(len(repr(each)) > METADATA_VALUE_LENGTH for each in value.values()):
        raise ValidationError("Not a valid JSON string.")
    if len(value) > METADATA_KEYS:
        raise ValidationError(f"Too many keys defined (exceeds {METADATA_KEYS}).")
    if any(len(key) > METADATA_KEY_LENGTH for key in value):
        raise ValidationError(f"Too long key defined (exceeds {METADATA_KEY_LENGTH}).")
