"""Puts a daemon together from what the command line asked for. The only module here that loads the model."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.errors import InputError
from model.face.crop import whole
from model.face.finder import HeadFinder, still_crop
from model.face.tracker import HeadTracker
from model.media.picture import read_picture
from model.talking_head import TalkingHead
from server.sender.connection.access import Access
from server.sender.connection.signalling import server_address
from server.sender.daemon import Daemon, Destination
from server.sender.media.extraction import PATIENCE_SECONDS
from server.sender.media.extractor import Avatar, ModelExtractor
from server.sender.media.feed import Feed, FeedListener, LiveFeed
from server.sender.media.inputs import MediaInput, check_source, parse_source
from server.sender.media.recording import RecordingFeed, read_recording
from server.sender.media.voice_order import VOICE_KBPS
from server.sender.status_line import LineFilter, Screen, StatusLine
from server.settings import Settings

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
    # One thread: at 256 pixels a second one waits more than it works, and a laptop has other things to do.
    torch.set_num_threads(1)
    avatar = read_picture(choices.avatar) if choices.avatar is not None else None
    check_source(choices.source)
    model = _load_model(choices, settings)
    fps = choices.rate.frames_per_second or DEFAULT_FPS
    line = StatusLine(screen, "json" if choices.json else "human")
    if line.live:
        for handler in logging.getLogger().handlers:
            handler.addFilter(LineFilter(line))
    return Daemon(
        Destination(choices.server, choices.room, choices.name, avatar=choices.avatar is not None),
        Access(choices.server, choices.room, choices.token, settings),
        _feed_factory(choices, model, avatar, fps),
        lambda: MotionEncoder(model.statistics, choices.rate),
        clock=time.monotonic,
        voice_kbps=choices.voice_kbps,
        status_line=line,
    )


def _load_model(choices: Choices, settings: Settings) -> TalkingHead:
    # A recording brings its motion: nothing is extracted, so nothing need be compiled.
    engine = "torch" if choices.source.kind == "recording" else settings.engine
    if settings.random_weights:
        return TalkingHead.random(engine=engine, threads=1)
    return TalkingHead.load(settings.weights, engine=engine, threads=1)


def _feed_factory(
    choices: Choices, model: TalkingHead, picture: NDArray[np.uint8] | None, fps: float
) -> Callable[[FeedListener], Feed]:
    source = choices.source
    if source.kind == "recording":
        recording = read_recording(Path(source.place), model.statistics, model.weights_hash)
        return lambda listener: RecordingFeed(
            recording, listener, fps=fps, clock=time.monotonic, sound=choices.sound, sleep=asyncio.sleep
        )
    extractor = ModelExtractor(model)
    # Once before the first frame: what is compiled or loaded on first use must not look like a slow camera.
    extractor.extract(np.zeros((extractor.size, extractor.size, 3), np.uint8), whole(extractor.size))
    finder = HeadFinder()
    avatar = None
    if picture is not None:
        crop = still_crop(picture, finder)
        avatar = Avatar(crop.cut(picture, extractor.source_size(crop.side)), extractor)
    return lambda listener: LiveFeed(
        source,
        listener,
        extractor=extractor,
        tracker=HeadTracker(finder, patience=PATIENCE_SECONDS),
        fps=fps,
        clock=time.monotonic,
        sound=choices.sound,
        loop=choices.loop,
        avatar=avatar,
    )
