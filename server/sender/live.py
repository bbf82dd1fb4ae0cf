"""What a camera or a video file needs of the sender beside a connection: the model, and the feed that it extracts for.

The only module of the sender that loads the model, and torch with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from model.face.crop import whole
from model.face.finder import HeadFinder, still_crop
from model.face.tracker import HeadTracker
from model.talking_head import TalkingHead
from server.sender.media.extraction import PATIENCE_SECONDS
from server.sender.media.extractor import Avatar, ModelExtractor
from server.sender.media.feed import Feed, FeedListener
from server.sender.media.inputs import MediaInput
from server.sender.media.live_feed import LiveFeed
from server.settings import Settings


def live_feeds(
    source: MediaInput, settings: Settings, picture: NDArray[np.uint8] | None, *, fps: float, sound: bool, loop: bool
) -> tuple[TalkingHead, Callable[[FeedListener], Feed]]:
    """The model, and what makes its feed.

    picture: uint8 (H, W, 3) RGB, the face that is sent instead of the one before the camera; None: that one
    Raises WeightsError and FaceError.
    """
    # One thread: at 256 pixels a second one waits more than it works, and a laptop has other things to do.
    torch.set_num_threads(1)
    model = _load_model(settings)
    extractor = ModelExtractor(model)
    # Once before the first frame: what is compiled or loaded on first use must not look like a slow camera.
    extractor.extract(np.zeros((extractor.size, extractor.size, 3), np.uint8), whole(extractor.size))
    finder = HeadFinder()
    avatar = None
    if picture is not None:
        crop = still_crop(picture, finder)
        avatar = Avatar(crop.cut(picture, extractor.source_size(crop.side)), extractor)
    return model, lambda listener: LiveFeed(
        source,
        listener,
        extractor=extractor,
        tracker=HeadTracker(finder, patience=PATIENCE_SECONDS),
        fps=fps,
        clock=time.monotonic,
        sound=sound,
        loop=loop,
        avatar=avatar,
    )


def _load_model(settings: Settings) -> TalkingHead:
    if settings.random_weights:
        return TalkingHead.random(engine=settings.engine, threads=1)
    return TalkingHead.load(settings.weights, engine=settings.engine, threads=1)
