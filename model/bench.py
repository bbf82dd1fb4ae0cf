"""How fast the model runs on this machine: medians of repeated calls, after a warm-up.

On a GPU, frames a second at several batch sizes in half precision, and the share of the chip's measured peak that the
renderer's operations reach.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.motion import Motion
from model.talking_head import TalkingHead


def measure(head: TalkingHead, repeats: int = 30) -> dict[str, Any]:
    """Keys: device, threads, extract_ms, enrol_ms, render_ms, render_fps (batch 1), *_gmac; on a GPU also `batches`."""
    size = head.profile.size
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(0, 256, (1, 3, size, size), generator=generator, dtype=torch.uint8)
    state = head.enrol(picture)
    motion = state.motion
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(head.device) if head.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "profile": head.profile.name,
        "size": size,
    }
    calls: dict[str, Callable[[], object]] = {
        "extract": lambda: head.extract(picture),
        "enrol": lambda: head.enrol(picture),
        "render": lambda: head.render([state], motion),
    }
    for name, call in calls.items():
        result[f"{name}_ms"] = round(1e3 * _median_seconds(call, repeats, head.device), 3)
        result[f"{name}_gmac"] = round(_gmac(call), 3)
    result["render_fps"] = round(1e3 / result["render_ms"], 1)
    if head.device.type == "cuda":
        result |= _batches(head, picture, motion, result["render_gmac"], repeats)
    return result


def _batches(head: TalkingHead, picture: torch.Tensor, motion: Motion, gmac: float, repeats: int) -> dict[str, Any]:
    peak = _matrix_peak(head)
    rows = {}
    for count in (1, 8, 32):
        states = [head.enrol(picture) for _ in range(count)]
        motions = Motion.from_vector(torch.from_numpy(motion.to_vector()).repeat(count, 1))
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
