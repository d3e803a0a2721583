"""What a log line may not be: the place where a secret is kept, or what an anonymous client fills the disk with."""

import logging
import re
import time

_IN_QUERY = re.compile(r"(?i)\b(_?(?:api|user|account)_?key|token|password|secret)=([^&\s\"']{1,8})[^&\s\"']*")
_BARE = re.compile(r"\b([0-9a-fA-F]{8})[0-9a-fA-F]{32}\b")


def redact(text: str) -> str:
    return _BARE.sub(r"\1…", _IN_QUERY.sub(r"\1=\2…", text))


class RedactSecrets(logging.Filter):
    """A filter that formats the record once and redacts the result."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        redacted = redact(message)
        if redacted != message:
            record.msg, record.args = redacted, ()
        return True


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
