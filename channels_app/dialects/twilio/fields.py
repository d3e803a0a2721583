"""Single values as this wire spells them (wire/twilio.md §0, §2, §3). Pure functions."""

import re
from datetime import UTC, datetime

MAX_DIGITS = 18


def timestamp(moment: datetime) -> str:
    """Whole seconds only: the helpers read nothing else as a date."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def integer(value: object) -> int | None:
    """The whole number, in JSON or spelled in a form; None when it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(rf"-?[0-9]{{1,{MAX_DIGITS}}}", value):
        return int(value)
    return None


def boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())
