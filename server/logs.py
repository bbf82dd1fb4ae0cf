"""Structured logs on standard error: lines for a person, or one JSON object a line for a collector."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

_TOKENS = re.compile(
    r"((?:token|access_token)=)[^&\s\\\"'<>]+"  # in an address
    r"|(Bearer\s+)[^\s\\\"'<>,]+"  # in a header
    r"|()\beyJ[\w-]+\.[\w-]+\.[\w-]+",  # a JWT anywhere
    re.IGNORECASE,
)


def without_tokens(text: str) -> str:
    """`text` with everything that looks like a token taken out: libraries log the requests they cannot read."""
    return _TOKENS.sub(lambda match: next((g for g in match.groups() if g), "") + "[token]", text)


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What the call passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, the call's extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | _fields(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return without_tokens(json.dumps(entry, default=str))


class HumanFormatter(logging.Formatter):
    """`12:00:00 info    message  field=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = "".join(f"  {name}={value}" for name, value in _fields(record).items())
        line = f"{time} {record.levelname.lower():<7} {record.getMessage()}{fields}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return without_tokens(line)


def set_up_logging(form: Literal["human", "json"], level: str) -> None:
    """Send every log record of the process to standard error in `form`; `level` holds for visavis itself.

    The libraries speak from `warning` on: aiortc and aioice log each candidate pair at `info`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else HumanFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("server", "model"):
        logging.getLogger(name).setLevel(level.upper())
    # A token must not reach the log: it stands in the address of the WebSocket.
    logging.getLogger("aiohttp.access").disabled = True
