"""The live side of visavis: HTTP, WebSocket and WebRTC around the codec of `model/`.

settings.py      every knob, one typed object
app.py           the aiohttp application, built from settings and injected parts
routes/          HTTP and WebSocket requests, translated to calls on the conference
signalling/      rooms, publishers, subscriptions, peer connections: who sends what to whom
wire/            messages that sender and receiver share
receiver/        motion in, pictures out
media/           encodes once and fans out
sender/          the daemon on the laptop
live.py          where settings, model and receiver meet
auth.py, turn.py tokens and TURN credentials
metrics.py       every metric, behind small verbs
commands/        one module per command of `python -m server`
benchmark/       what `python -m server bench` measures

It imports `model/` and is imported by nothing there.
"""

from __future__ import annotations

__version__ = "0.1.0"
