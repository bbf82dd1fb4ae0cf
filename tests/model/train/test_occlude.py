"""Hands and things that are drawn before faces."""

from __future__ import annotations

import torch

from model.train.occlude import occluded

SIZE = 256


def faces(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey pictures, and points of a face a third as high as they are."""
    points = 0.33 * (2 * torch.rand(count, 40, 3, generator=torch.Generator().manual_seed(1)) - 1)
    return torch.full((count, 3, SIZE, SIZE), 0.5), points


def test_the_same_seed_hides_the_same() -> None:
    frames, points = faces(8)
    assert torch.equal(occluded(frames, points, 5), occluded(frames, points, 5))
    assert not torch.equal(occluded(frames, points, 5), occluded(frames, points, 6))


def test_most_frames_stay_and_the_rest_shows_something_before_the_face() -> None:
    frames, points = faces(200)
    out = occluded(frames, points, 0)
    assert out.shape == frames.shape
    assert 0 <= out.min() <= out.max() <= 1
    gone = (out - frames).abs().amax(1) > 0.02  # (B, S, S)
    hidden = gone.flatten(1).any(1)
    assert 0.3 < hidden.float().mean() < 0.5
    assert torch.equal(out[~hidden], frames[~hidden])
    middle = gone[hidden][:, SIZE // 3 : -SIZE // 3, SIZE // 3 : -SIZE // 3].float().mean((1, 2))
    assert 0.1 < middle.mean() < 0.8  # of the face, on average, a part


def test_hands_have_the_colour_of_the_face() -> None:
    frames, points = faces(60)
    frames = frames * torch.tensor([1.2, 0.9, 0.6])[:, None, None]
    changed = (occluded(frames, points, 2) - frames).abs().amax(1) > 0.05
    red, green, blue = occluded(frames, points, 2).permute(1, 0, 2, 3)
    in_order = ((red > green) & (green > blue))[changed]
    assert in_order.float().mean() > 0.5  # those of things are of any colour
