"""Puts a daemon together from what the command line asked for. What loads the model is `server.sender.live`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.description import Description, random_description, read_description
from model.errors import InputError
from model.media.picture import read_picture
from server.sender.connection.access import Access
from server.sender.connection.signalling import server_address
from server.sender.daemon import Daemon, Destination
from server.sender.media.feed import Feed, FeedListener
from server.sender.media.inputs import PORTRAIT, MediaInput, check_source, parse_source, portrait_of
from server.sender.media.recording import RecordingFeed, read_recording
from server.sender.media.voice_order import VOICE_KBPS
from server.sender.status_line import LineFilter, Screen, StatusLine
from server.settings import Settings

if TYPE_CHECKING:
    from model.talking_head import TalkingHead

DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class Choices:
    """What the user asked for, checked."""

    server: str
    room: str
    name: str
    source: MediaInput
    rate: Rate
    loop: bool = False
    avatar: Path | None = None
    sound: bool = True
    voice_kbps: float = VOICE_KBPS
    token: str | None = None
    json: bool = False


def parse_choices(
    *,
    server: str,
    room: str,
    name: str,
    source: str,
    kbps: float,
    loop: bool = False,
    avatar: str | None = None,
    sound: bool = True,
    voice_kbps: float = VOICE_KBPS,
    token: str | None = None,
    json: bool = False,
) -> Choices:
    """Check the command line. Raises InputError."""
    parsed = parse_source(source)
    if not 2.0 <= kbps <= 200.0:
        raise InputError("--kbps must lie between 2 and 200")
    if not 8.0 <= voice_kbps <= 64.0:
        raise InputError("--voice-kbps must lie between 8 and 64")
    if avatar is not None and parsed.kind == "recording":
        raise InputError("--avatar needs a camera or a video file: a recording brings its own face")
    return Choices(
        server=server_address(server),
        room=room,
        name=name.strip()[:64] or "visavis",
        source=parsed,
        rate=Rate.for_kbps(kbps),
        loop=loop,
        avatar=Path(avatar).expanduser() if avatar is not None else None,
        sound=sound,
        voice_kbps=voice_kbps,
        token=token,
        json=json,
    )


def make_daemon(choices: Choices, settings: Settings, screen: Screen) -> Daemon:
    """The daemon, ready to run on the current event loop. Raises WeightsError, InputError and FaceError."""
    picture = read_picture(choices.avatar) if choices.avatar is not None else None
    check_source(choices.source)
    fps = choices.rate.frames_per_second or DEFAULT_FPS
    model: Description | TalkingHead
    if choices.source.kind == "recording":
        model, make_feed = _recorded_feeds(choices, settings, fps)
    else:
        from server.sender.live import live_feeds  # not at the top: it loads torch, which a recording does without

        model, make_feed = live_feeds(
            choices.source, settings, picture, fps=fps, sound=choices.sound, loop=choices.loop
        )
    line = StatusLine(screen, "json" if choices.json else "human")
    if line.live:
        for handler in logging.getLogger().handlers:
            handler.addFilter(LineFilter(line))
    return Daemon(
        Destination(choices.server, choices.room, choices.name, avatar=choices.avatar is not None),
        Access(choices.server, choices.room, choices.token, settings),
        make_feed,
        lambda: MotionEncoder(model.statistics, choices.rate),
        weights=model.weights_hash,
        clock=time.monotonic,
        voice_kbps=choices.voice_kbps,
        status_line=line,
    )


def _recorded_feeds(
    choices: Choices, settings: Settings, fps: float
) -> tuple[Description, Callable[[FeedListener], Feed]]:
    """As `live_feeds`, of a recording: it brings its motion and its pictures, so no network is needed."""
    model = random_description() if settings.random_weights else read_description(settings.weights)[0]
    place = Path(choices.source.place)
    place = portrait_of(settings.weights) if place == PORTRAIT else place
    recording = read_recording(place, model.statistics, model.weights_hash)
    return model, lambda listener: RecordingFeed(
        recording, listener, fps=fps, clock=time.monotonic, sound=choices.sound, sleep=asyncio.sleep
    )
