"""How fast the model runs on this machine: medians of repeated calls, after a warm-up.

Where compiled graphs run, torch's figures stand beside theirs: the choice of the engine can be made again by anybody.
On a GPU, frames a second at several batch sizes in half precision, and the share of the chip's measured peak that the
renderer's operations reach.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from model.bench_codec import codec_times
from model.face.crop import Crop
from model.frame_cost import frame_cost
from model.frame_extractor import HEAD_EVERY, FrameExtractor
from model.motion import Motion
from model.registration.similarity import GreyPyramid, thumbnail
from model.registration.surface import EVERY
from model.talking_head import TalkingHead


def compare(head: TalkingHead, torch_head: TalkingHead, repeats: int = 30) -> dict[str, Any]:
    """`measure` of `head`, what its first calls took, and torch's times of the same weights under `torch`.

    Keys beside those of `measure`: engine; codec, as of `codec_times`; on a CPU those of `frame_cost`; with graphs also
    start_s, the seconds of compiling them or of reading those that an earlier process has kept, and `torch`.
    """
    blank = torch.zeros(1, 3, head.profile.size, head.profile.size, dtype=torch.uint8)
    began = time.perf_counter()
    state = head.enrol(blank)
    head.render([state], state.motion)
    start = time.perf_counter() - began
    figures = measure(torch_head, repeats) | {"codec": codec_times(head.statistics, repeats)}
    if head.device.type == "cpu":
        calls = _calls(head)
        figures |= frame_cost(calls["frames"], calls["render"], calls.get("aligned"), SEVERAL, repeats)
    if head.engine == "torch":
        return figures | {"engine": head.engine}
    times = {name: figures[name] for name in figures if name.endswith(("_ms", "_fps"))}
    return figures | _times(head, repeats) | {"engine": head.engine, "start_s": round(start, 2), "torch": times}


def measure(head: TalkingHead, repeats: int = 30) -> dict[str, Any]:
    """Keys: device, threads, frame_ms, extract_ms, align_ms, enrol_ms, render_ms, render_sharp_ms, render_fps (of one
    frame at a time), *_gmac; on a GPU also `batches`.

    frame is what a sender does with each frame of its camera: cut the crop, extract, measure the landmarks; extract is
    the motion extractor in it. render_sharp is a picture at the profile's sharp size. align is what a sender does with
    the frames that it aligns to the source image; `paper` aligns none. Operations are counted in torch: of a head whose
    engine is torch alone.
    """
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(head.device) if head.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "profile": head.profile.name,
        "size": head.profile.size,
    }
    result |= _times(head, repeats)
    counts = _of_one({name: _gmac(call) for name, call in _calls(head).items()})
    result |= {f"{name}_gmac": round(count, 3) for name, count in counts.items()}
    if head.device.type == "cuda":
        result |= _batches(head, result["render_gmac"], repeats)
    return result


def _times(head: TalkingHead, repeats: int) -> dict[str, Any]:
    calls = _calls(head)
    times = _of_one({name: 1e3 * _median_seconds(call, repeats, head.device) for name, call in calls.items()})
    return {f"{name}_ms": round(ms, 3) for name, ms in times.items()} | {"render_fps": round(1e3 / times["render"], 1)}


def _of_one(figures: dict[str, float]) -> dict[str, float]:
    """Figures of `_calls`, those of several frames divided among them."""
    names = {"frames": "frame", "aligned": "align"}
    return {names.get(name, name): value / (SEVERAL if name in names else 1) for name, value in figures.items()}


SEVERAL = math.lcm(HEAD_EVERY, EVERY)
"""Frames in a row in which each network of a sender has run as often as it does in a call."""

_CROP = Crop(224.0, 128.0, 250.0)
"""The head in `_camera`'s frame."""


def _camera() -> NDArray[np.uint8]:
    """A frame (512, 512, 3) with a face in it: eyes are drawn, and landmarks tracked, where there are some."""
    from skimage.data import astronaut

    return np.asarray(astronaut(), np.uint8)


def _picture(head: TalkingHead, size: int | None = None) -> torch.Tensor:
    crop = _CROP.cut(_camera(), size or head.profile.size)
    return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None]


def _calls(head: TalkingHead) -> dict[str, Callable[[], object]]:
    """What is timed and counted, by name."""
    picture = _picture(head)
    state = head.enrol(picture)
    camera, extractor = _camera(), FrameExtractor(head)
    calls: dict[str, Callable[[], object]] = {
        "frames": lambda: [extractor.extract(camera, _CROP) for _ in range(SEVERAL)],
        "extract": lambda: head.extract(picture),
        "enrol": lambda: head.enrol(picture),
        "render": lambda: head.render([state], state.motion),
    }
    if (sharp := head.profile.sharp_size) is not None:
        large = head.enrol(_picture(head, sharp))
        calls["render_sharp"] = lambda: head.render([large], large.motion, size=sharp)
    small = GreyPyramid(thumbnail(picture[0].permute(1, 2, 0).numpy()))
    aligner = head.aligner(state, small)
    if aligner is not None:
        motion = state.motion.to_numpy()[0]
        first = aligner(small, motion, None)

        def aligned() -> None:
            before = first
            for _ in range(SEVERAL):
                before = aligner(small, motion, before)

        calls["aligned"] = aligned
    return calls


def _batches(head: TalkingHead, gmac: float, repeats: int) -> dict[str, Any]:
    peak = _matrix_peak(head)
    picture = _picture(head)
    motion = head.extract(picture)
    rows = {}
    for count in (1, 8, 32):
        states = [head.enrol(picture) for _ in range(count)]
        motions = Motion.concatenate([motion] * count)
        seconds = _median_seconds(lambda s=states, m=motions: head.render(s, m), repeats, head.device)  # type: ignore[misc]
        fps = count / seconds
        rows[str(count)] = {"fps": round(fps, 1), "share_of_peak": round(fps * gmac * 2e9 / peak, 4)}
    return {"batches": rows, "peak_tflops": round(peak / 1e12, 1), "precision": str(head.dtype).removeprefix("torch.")}


def _matrix_peak(head: TalkingHead) -> float:
    """Operations a second of a large half-precision matrix product: what the chip can do at best."""
    n = 8192
    a = torch.randn(n, n, device=head.device, dtype=head.dtype)
    b = torch.randn(n, n, device=head.device, dtype=head.dtype)
    return 2 * n**3 / _median_seconds(lambda: a @ b, 20, head.device)


def _gmac(call: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / 2e9


def _median_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    def once() -> float:
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    for _ in range(5):
        once()
    return statistics.median(once() for _ in range(repeats))
