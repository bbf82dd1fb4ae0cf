"""The live side of visavis: HTTP, WebSocket and WebRTC around the codec of `model/`.

settings.py      every knob, one typed object
app.py           the aiohttp application, built from settings and injected parts
routes/          HTTP and WebSocket requests, translated to calls on the conference
conference.py    joins rooms, publications and peer connections; viewing.py is its viewers' side
rooms.py         who is in which room: a state machine without I/O, told the time
protocol.py      the messages on the WebSocket
connections.py   peer connections: offers checked and answered, closed exactly once
auth.py, turn.py tokens and TURN credentials
metrics.py       every metric, behind small verbs
receiver/        motion in, pictures out; media/ encodes once and fans out
sender/          the daemon on the laptop
commands/        one module per command of `python -m server`

It imports `model/` and is imported by nothing there. Only routes/ knows HTTP;
only connections.py and media/ know aiortc.
"""

from __future__ import annotations

__version__ = "0.1.0"
