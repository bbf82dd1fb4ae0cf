"""A renderer that costs nothing: the source image, shifted by head pose. Networks have benches of their own.

Pictures move as the head does and have a grain of their own, so that the video encoder spends on them what it spends on
a face, all that it may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from model.codec.statistics import MotionStatistics
from model.description import Profile
from model.media.colour import rgb_to_yuv420p
from model.motion import Motion
from server.receiver.render_capacity import RenderCapacity
from server.receiver.render_engine import EngineStatistics, RenderedPicture, RenderEngine

RENDER_SECONDS = 0.02
"""Virtual seconds that a picture takes."""

_SHIFT = 1.0
"""Pixels a degree."""

_GRAIN = 6.0
"""Grey levels of 256, one sigma."""

_GRAINS = 8
"""Different ones, which take turns."""


@dataclass(frozen=True)
class _State:
    planes: NDArray[np.uint8]  # (3S/2, S)
    nbytes: int = 1_000_000
    sharp: None = None


@dataclass(frozen=True)
class _Known:
    profile: Profile
    statistics: MotionStatistics


class StandInEngine:
    """What a publication uses of `RenderEngine`, with pictures of 256 pixels after `RENDER_SECONDS`."""

    sizes = (256,)
    on_gpu = False

    def __init__(self, profile: Profile, statistics: MotionStatistics) -> None:
        self.known = _Known(profile, statistics)
        self.capacity = RenderCapacity(25.0, share=0.0)
        self.statistics = EngineStatistics()
        side = self.sizes[0]
        chance = np.random.default_rng(0)
        self._grains = chance.normal(0.0, _GRAIN, (_GRAINS, side, side)).round().astype(np.int16)

    def as_engine(self) -> RenderEngine:
        """Itself, by the type that others ask for."""
        return cast(RenderEngine, self)

    async def enrol(self, image: NDArray[np.uint8]) -> Any:
        """Keep the picture, 256 pixels a side."""
        step = image.shape[0] // self.sizes[0]
        picture = torch.from_numpy(np.ascontiguousarray(image[::step, ::step].transpose(2, 0, 1)))
        return _State(rgb_to_yuv420p(picture[None])[0].numpy())

    def submit(
        self,
        state: Any,
        motion: Motion,
        view: Any,
        frame_time: Any,
        deadline: float,
        done: Callable[[RenderedPicture | None], None],
        size: int | None = None,
    ) -> bool:
        """As of the engine."""
        planes = _shifted(state.planes, motion)
        luma, grain = planes[: self.sizes[0]], self._grains[self.statistics.rendered % _GRAINS]
        luma[:] = np.clip(luma + grain, 0, 255)
        picture = RenderedPicture(planes, 0.0, RENDER_SECONDS)
        asyncio.get_running_loop().call_later(RENDER_SECONDS, done, picture)
        self.statistics.rendered += 1
        return True


def _shifted(planes: NDArray[np.uint8], motion: Motion) -> NDArray[np.uint8]:
    side = planes.shape[1]
    across = int(np.round(_SHIFT * float(motion.yaw)))
    down = int(np.round(_SHIFT * float(motion.pitch)))
    luma = np.roll(planes[:side], (2 * down, 2 * across), (0, 1))
    chroma = np.roll(planes[side:].reshape(2, side // 2, side // 2), (down, across), (1, 2))
    return np.concatenate([luma, chroma.reshape(side // 2, side)])
