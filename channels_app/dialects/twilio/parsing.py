"""What clients send, turned into what the core takes (wire/twilio.md §4). Pure functions: every front stands on them."""

from urllib.parse import unquote_to_bytes

from channels_app.conf import conf
from channels_app.dialects import strict_json

from .errors import TwilioError

FORM = "application/x-www-form-urlencoded"
MISSING_DATA = "Missing required parameter Data in the post body"
MAX_FIELDS = 1_000  # what Django takes; helpers send fewer than ten


def form_field(body: bytes, content_type: str, name: str) -> bytes | None:
    """The bytes that the field's escapes stand for; of a repeated field the last; None when it is not there.

    Only forms are read: what is sent as anything else counts as missing (wire/twilio.md §1). Raises TwilioError.
    """
    if not _is_form(content_type):
        return None
    pairs = body.split(b"&", MAX_FIELDS)
    if len(pairs) > MAX_FIELDS:
        raise TwilioError(400, 20001, "Too many parameters")
    wanted, found = name.encode(), None
    for pair in pairs:
        key, _, value = pair.partition(b"=")
        if key == wanted or _unescaped(key) == wanted:
            found = value
    return None if found is None else _unescaped(found)


def _is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == FORM


def _unescaped(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def parse_publish(body: bytes, content_type: str) -> str:
    """The message that a form publishes, as JSON text. Raises TwilioError."""
    data = form_field(body, content_type, "Data")
    if data is None:
        is_read = _is_form(content_type) and not body.lstrip().startswith(b"{")
        raise TwilioError(400, 20001, MISSING_DATA if is_read else f"{MISSING_DATA} (a form; JSON is not read)")
    try:
        value = strict_json.parse(data)
    except ValueError:
        raise _no_object() from None
    return message_data(value)


def message_data(value: object) -> str:
    """The JSON text of a message: an object of not too many bytes, counted as compact UTF-8. Raises TwilioError."""
    if value is None:
        raise TwilioError(400, 54251, "Data cannot be null")
    if not isinstance(value, dict):
        raise _no_object()
    try:
        text = strict_json.compact(value)
        size = len(text.encode())
    except ValueError:  # too deep, or half of a surrogate pair
        raise _no_object() from None
    if size > conf.TWILIO_MAX_DATA:
        limit = f"Data has at most {conf.TWILIO_MAX_DATA} bytes as compact JSON"
        raise TwilioError(413, 54006, f"Request entity too large: {limit}")
    return text


def _no_object() -> TwilioError:
    return TwilioError(400, 54008, "Invalid request body: Data is not a JSON object")
