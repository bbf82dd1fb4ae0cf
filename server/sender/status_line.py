"""What the sender shows once a second: one live line on a terminal, log lines elsewhere, or one JSON object a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

logger = logging.getLogger(__name__)

LOG_EVERY = 10.0
"""Seconds. Without a terminal: a line that often while connected, and one whenever the state or the problem changes."""

CONNECTED = ("live", "paused")
"""States in which there are numbers to show."""


@dataclass(frozen=True)
class Status:
    """The numbers of now."""

    state: str  # connecting, live, paused, waiting, ended
    problem: str | None = None  # why it is not live
    fps: float = 0.0  # motion frames sent
    motion_kbps: float = 0.0  # payload of the motion messages
    wire_kbps: float = 0.0  # the same with the headers of all packets that left for it
    sound_kbps: float = 0.0  # Opus payload
    sound_wire_kbps: float = 0.0  # the same with IP, UDP, RTP and SRTP headers
    round_trip_ms: float | None = None
    dropped: int = 0  # frames captured but not sent, since the start
    sources: int = 0  # source images that the receiver has
    reconnects: int = 0
    overloaded: bool = False  # the server says that it renders slower than it promised


class Screen(Protocol):
    """What is used of a text stream."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


def status_text(status: Status) -> str:
    """One line for a person."""
    if status.state in CONNECTED:
        trip = "  -- ms" if status.round_trip_ms is None else f"{status.round_trip_ms:4.0f} ms"
        numbers = (
            f"{status.fps:4.1f} fps   motion {status.motion_kbps:4.1f} kbit/s ({status.wire_kbps:.1f} with headers)   "
            f"voice {status.sound_kbps:4.1f} kbit/s ({status.sound_wire_kbps:.1f})   "
            f"round trip {trip}   dropped {status.dropped}"
        )
        if status.overloaded:
            numbers += "   the server is overloaded"
        return f"paused: {status.problem}   {numbers}" if status.state == "paused" else numbers
    return f"{status.state}: {status.problem}" if status.problem else status.state


def status_json(status: Status) -> str:
    """One JSON object without line breaks."""
    rounded = {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(status).items()}
    return json.dumps(rounded)


class StatusLine:
    """Shows statuses on `screen`; `show` takes the time in seconds."""

    def __init__(
        self, screen: Screen, form: Literal["human", "json"], log: Callable[[str], None] = logger.info
    ) -> None:
        self._screen = screen
        self._json = form == "json"
        self._live = not self._json and screen.isatty()
        self._log = log
        self._width = 0
        self._logged: tuple[str, str | None] | None = None  # state and problem
        self._logged_at = 0.0

    @property
    def live(self) -> bool:
        """Whether one line is drawn over and over."""
        return self._live

    def show(self, status: Status, now: float) -> None:
        """Show the present status."""
        if self._json:
            self._screen.write(status_json(status) + "\n")
            self._screen.flush()
            return
        text, connected = status_text(status), status.state in CONNECTED
        if self._live:
            self._screen.write("\r" + text.ljust(self._width))
            self._screen.flush()
            self._width = len(text)
        elif self._logged != (status.state, status.problem) or (connected and now - self._logged_at >= LOG_EVERY):
            self._logged, self._logged_at = (status.state, status.problem), now
            self._log(text)

    def clear(self) -> None:
        """Wipe the live line, so that other output starts on a clean one."""
        if self._live and self._width:
            self._screen.write("\r" + " " * self._width + "\r")
            self._screen.flush()
            self._width = 0


class LineFilter(logging.Filter):
    """On a log handler of the same terminal: wipes the live line before a record is written over it."""

    def __init__(self, line: StatusLine) -> None:
        super().__init__()
        self._line = line

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        self._line.clear()
        return True
