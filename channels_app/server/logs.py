"""How a log line is written, for people or as JSON, and what it may not be: the place where a secret is kept, or what an
anonymous client fills the disk with."""

import json
import logging
import re
import time
from datetime import UTC, datetime

_KEY_IN_QUERY = re.compile(r"(?i)\b(_?(?:api|user|account)_?key)=([^&\s\"']{1,8})[^&\s\"']*")
_SECRET_IN_QUERY = re.compile(r"(?i)\b(token|password|secret)=[^&\s\"']+")
_BARE_KEY = re.compile(r"\b([0-9a-fA-F]{8})[0-9a-fA-F]{32}\b")

# What every record has; the rest is what its `extra` brought. uvicorn sends some texts twice, once in colour.
_OF_EVERY_RECORD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


def redact(text: str) -> str:
    """Keys keep the digits that name them in lists; other secrets keep nothing."""
    text = _KEY_IN_QUERY.sub(r"\1=\2…", text)
    return _BARE_KEY.sub(r"\1…", _SECRET_IN_QUERY.sub(r"\1=…", text))


class RedactedLine(logging.Formatter):
    """A line for people, its traceback included, with secrets cut."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class RedactedJson(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, exception if there is one, and the extras."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        for name, value in vars(record).items():
            if name not in _OF_EVERY_RECORD:
                entry.setdefault(name, _plain(value))
        return json.dumps(entry, ensure_ascii=False)


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


class ClientMistakes(logging.Filter):
    """What only shows that some client is broken or hostile: one line a minute of each kind, never a traceback.

    The frameworks log it each time, some with a traceback: 8 bytes of a client's would make 3,000 of the log's.
    """

    PAUSE_SECONDS = 60.0
    SERVER = frozenset(
        {"Invalid UTF-8 sequence received from client.", "Invalid HTTP request received.", "Unsupported upgrade request."}
    )

    def __init__(self) -> None:
        super().__init__()
        self._silent_until: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security"):  # a host we do not serve, too many fields, …
            kind = record.name
        elif record.name == "uvicorn.error" and record.msg in self.SERVER:
            kind = record.msg
        else:
            return True
        if time.monotonic() < self._silent_until.get(kind, 0):
            return False
        self._silent_until[kind] = time.monotonic() + self.PAUSE_SECONDS
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        record.exc_info = record.exc_text = None
        return True
