"""Training `EyeEnhancer`: what was drawn is to look like what was filmed, on eyes of people evenly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.small.eye_enhancer import EyeEnhancer
from model.train.eye_windows import Eyes

Distance = Callable[[Tensor, Tensor], Tensor]
"""LPIPS of pictures (B, 3, H, W) in [0, 1], (B,)."""

_PIXEL, _EDGE, _ENLARGED = 4.0, 2.0, 0.5  # weights beside LPIPS at the window's own size
_ROUND = 12  # pixels around a window, mirrored, that LPIPS sees
_BATCH = 32
_WARMUP = 50  # steps
_FINAL = 1e-5  # learning rate
_MEMORY = 0.998  # of the average of the weights


def train_enhancer(
    people: Mapping[str, Sequence[Eyes]],
    distance: Distance,
    minutes: float,
    rate: float = 1e-3,
    start: EyeEnhancer | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = print,
) -> EyeEnhancer:
    """An enhancer trained for some minutes, its weights averaged over the last steps.

    people  eyes of each person, one or more films
    rate    learning rate; it falls to nothing
    start   weights to begin with
    """
    torch.manual_seed(seed)
    enhancer = EyeEnhancer() if start is None else start.requires_grad_(True)
    average = {name: value.clone() for name, value in enhancer.state_dict().items()}
    optimiser = torch.optim.AdamW(enhancer.parameters(), rate, weight_decay=1e-3)
    random, began, step = np.random.default_rng(seed), clock(), 0
    while (progress := (clock() - began) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / _WARMUP) * (1 + math.cos(math.pi * progress)) / 2 + _FINAL
        loss = enhancement_loss(enhancer, drawn_batch(people, _BATCH, random), distance)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        step += 1
        memory = min(_MEMORY, (step + 1) / (step + 10))
        for name, value in enhancer.state_dict().items():
            average[name].lerp_(value, 1 - memory)
        if step % 100 == 0:
            say(f"step {step}, {60 * minutes * progress:.0f} s, loss {float(loss.detach()):.4f}")
    enhancer.load_state_dict(average)
    return enhancer.eval().requires_grad_(False)


def enhancement_loss(enhancer: nn.Module, eyes: Eyes, distance: Distance) -> Tensor:
    """L1 of colours and of their edges, and LPIPS at the window's size and at twice that; colours in [0, 1]."""
    made = eyes.drawn + enhancer(eyes.drawn, eyes.source, eyes.points, eyes.source_points)
    error = made - eyes.filmed
    edges = sum(error.diff(dim=axis).abs().mean() for axis in (-1, -2))

    def around(x: Tensor) -> Tensor:
        return F.pad(x.clamp(0, 1), (_ROUND,) * 4, mode="reflect")

    def enlarged(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False).clamp(0, 1)

    near = distance(around(made), around(eyes.filmed)).mean()
    far = distance(enlarged(made), enlarged(eyes.filmed)).mean()
    loss: Tensor = _PIXEL * error.abs().mean() + _EDGE * edges + near + _ENLARGED * far
    return loss


def drawn_batch(people: Mapping[str, Sequence[Eyes]], count: int, random: np.random.Generator) -> Eyes:
    """Eyes of people drawn evenly, colours in [0, 1], under a light of their own, keypoints a little off."""
    names, chosen = sorted(people), []
    for _ in range(count):
        films = people[names[random.integers(len(names))]]
        eyes = films[int(random.integers(len(films)))]
        index = int(random.integers(len(eyes)))
        one = slice(index, index + 1)
        places = (eyes.points[one], eyes.source_points[one])
        chosen.append(Eyes(eyes.drawn[one], eyes.filmed[one], eyes.source[one], *places))
    batch = Eyes.joined(chosen)
    tint = random.normal(0, 0.075, (count, 3, 1, 1)) + random.normal(0, 0.2, (count, 1, 1, 1))
    gain, gamma = (torch.from_numpy(np.exp(x)).float() for x in (tint, random.normal(0, 0.15, (count, 1, 1, 1))))
    colours = [((x.float() / 255) ** gamma * gain).clamp(0, 1) for x in (batch.drawn, batch.filmed, batch.source)]
    off = 0.02 * torch.from_numpy(random.normal(size=batch.points.shape)).float()
    drawn, filmed, source = colours
    return Eyes(drawn, filmed, source, batch.points.float() + off, batch.source_points.float())
