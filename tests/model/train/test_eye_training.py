"""Training the enhancer of eyes: windows of a film, batches of people evenly, a loss that falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.errors import WeightsError
from model.eye_weights import load_eye_enhancer, write_eye_enhancer
from model.networks.small.eye_enhancer import HEIGHT, WIDTH, EyeEnhancer
from model.talking_head import TalkingHead
from model.train.clips import write_clip
from model.train.enhancement import drawn_batch, enhancement_loss, train_enhancer
from model.train.eye_windows import Eyes, eyes_of_film
from tests.model.evaluate.portrait_clip import moving_portrait


def l1(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean((1, 2, 3))


def eyes(count: int, grey: int) -> Eyes:
    """Drawn `grey`, filmed forty lighter."""
    pictures = [torch.full((count, 3, HEIGHT, WIDTH), value, dtype=torch.uint8) for value in (grey, grey + 40, grey)]
    points = torch.zeros(count, 5, 2)
    return Eyes(pictures[0], pictures[1], pictures[2], points, points)


def test_windows_of_a_film_are_kept_and_the_same_again(tmp_path: Path) -> None:
    film = tmp_path / "portrait.mp4"
    write_clip(film, moving_portrait(14), 25.0)
    head = TalkingHead.load()
    found, again = eyes_of_film(head, film), eyes_of_film(head, film)
    assert found is not None
    assert again is not None
    assert 8 <= len(found) <= 20
    assert found.drawn.dtype == found.filmed.dtype == found.source.dtype == torch.uint8
    assert (found.drawn.float() - found.filmed.float()).abs().mean() < 20  # of 255: the same eyes
    assert found.points[:, 0].sub(torch.tensor([-1.0, 0.0])).abs().max() < 1e-4
    found.write(tmp_path / "eyes.npz")
    for one in (again, Eyes.read(tmp_path / "eyes.npz")):
        assert torch.equal(one.drawn, found.drawn)
        assert torch.equal(one.points, found.points)


def test_a_film_of_nobody_has_no_eyes(tmp_path: Path) -> None:
    film = tmp_path / "nobody.mp4"
    write_clip(film, np.full((4, 64, 64, 3), 90, np.uint8), 25.0)
    assert eyes_of_film(TalkingHead.load(), film) is None


def test_a_batch_has_people_evenly_and_one_light_for_drawn_and_filmed() -> None:
    people = {"many": [eyes(50, 40), eyes(50, 40)], "one": [eyes(1, 160)]}
    batch = drawn_batch(people, 200, np.random.default_rng(0))
    assert batch.drawn.shape == (200, 3, HEIGHT, WIDTH)
    for colours in (batch.drawn, batch.filmed, batch.source):
        assert colours.min() >= 0
        assert colours.max() <= 1
    assert torch.equal(batch.drawn, batch.source)
    assert (batch.filmed >= batch.drawn).all()
    bright = (batch.drawn.mean((1, 2, 3)) > 0.38).float().mean()
    assert 0.35 < bright < 0.65


def test_training_lowers_the_loss_and_is_the_same_again() -> None:
    people = {"a": [eyes(4, 60)], "b": [eyes(4, 90)]}
    batch = drawn_batch(people, 16, np.random.default_rng(7))

    def trained() -> EyeEnhancer:
        seconds = iter(range(10_000))
        return train_enhancer(people, l1, 0.5, rate=3e-3, clock=lambda: next(seconds), say=lambda _: None)

    first, second = trained(), trained()
    before, after = (float(enhancement_loss(one, batch, l1).detach()) for one in (EyeEnhancer(), first))
    assert after < 0.9 * before
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_weights_are_written_and_read(tmp_path: Path) -> None:
    enhancer = EyeEnhancer()
    write_eye_enhancer(enhancer, tmp_path / "eyes.safetensors")
    read = load_eye_enhancer(tmp_path / "eyes.safetensors")
    torch.testing.assert_close(read.enter.weight, enhancer.enter.weight, atol=1e-3, rtol=1e-2)
    assert not read.enter.weight.requires_grad
    (tmp_path / "other.safetensors").write_bytes(b"no weights")
    for name in ("other.safetensors", "missing.safetensors"):
        with pytest.raises(WeightsError, match="EyeEnhancer"):
            load_eye_enhancer(tmp_path / name)
