"""The person before what lies behind: finding them, painting over, and that neither layer bends the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from model.description import WEIGHTS
from model.errors import WeightsError
from model.motion import CanonicalKeypoints, Motion
from model.networks.grid import pixel_grid
from model.networks.small import SmallNetworks
from model.networks.small.silhouette import SmallSilhouette, cut_out, oval, painted_over
from model.networks.small_config import SMALL
from model.teacher.landmarks import TeacherError
from model.teacher.published_process import CONVOLUTION, DEPTHWISE, TRANSPOSED
from model.teacher.silhouette_weights import fetch_silhouette, load_silhouette, silhouette_state
from tests.model.clips import portrait


def disc(size: int, x: float = 0.0, y: float = 0.0, radius: float = 0.5) -> Tensor:
    """(1, 1, size, size), 1 within."""
    grid = pixel_grid(size, size, torch.zeros(1))
    inside: Tensor = (grid - torch.tensor([x, y])).norm(dim=-1) < radius
    return inside.float()[None, None]


@torch.no_grad()
@pytest.mark.parametrize("size", [128, 256])
def test_a_person_is_found_in_a_picture(size: int) -> None:
    network = SmallSilhouette().eval()
    load_silhouette(network)
    picture = torch.from_numpy(portrait().copy()).permute(2, 0, 1)[None].float() / 255
    picture = nn.functional.interpolate(picture, size=(size, size), mode="bilinear", antialias=True)
    person = network(picture)
    assert person.shape == (1, 1, size, size)
    assert person.min() >= 0
    assert person.max() <= 1
    face, chest = person[0, 0, size // 3, size // 2], person[0, 0, -size // 8, size // 2]
    assert face > 0.95
    assert chest > 0.95
    assert person[0, 0, : size // 10, : size // 10].max() < 0.2
    assert 0.2 < person.mean() < 0.9


@torch.no_grad()
def test_without_weights_all_is_the_person() -> None:
    assert SmallSilhouette().eval()(torch.rand(2, 3, 256, 256)).min() > 0.95


def test_the_weights_that_ship_hold_it_unchanged() -> None:
    shipped = load_file(WEIGHTS)
    alone = load_file(WEIGHTS.with_name("silhouette.safetensors"))
    assert len(alone) == 110
    for name, value in alone.items():
        assert torch.equal(shipped[f"silhouette.{name}"].float(), value.float())


def published() -> dict[str, NDArray[np.generic]]:
    """Arrays as `published_process` writes them, each filled with its number."""
    arrays: dict[str, NDArray[np.generic]] = {}
    layers = [m for m in SmallSilhouette().modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for index, layer in enumerate(layers):
        transposed, depthwise = isinstance(layer, nn.ConvTranspose2d), layer.groups > 1
        order = (1, 2, 3, 0) if transposed or depthwise else (0, 2, 3, 1)
        shape = tuple(layer.weight.shape[axis] for axis in order)
        arrays[f"{index} weight"] = np.full(shape, index, np.float16)
        arrays[f"{index} bias"] = np.full(len(layer.bias) if layer.bias is not None else 0, -index, np.float16)
        arrays[f"{index} kind"] = np.array(TRANSPOSED if transposed else DEPTHWISE if depthwise else CONVOLUTION)
    return arrays


def test_published_arrays_find_their_layers() -> None:
    state = silhouette_state(published())
    assert set(state) == set(SmallSilhouette().state_dict())
    assert state["stem.weight"].eq(0).all()
    assert state["last.bias"].eq(-54).all()
    few = {name: value for name, value in published().items() if not name.startswith("54 ")}
    with pytest.raises(WeightsError, match="54 convolutions, 55 are wanted"):
        silhouette_state(few)
    other = published() | {"3 weight": np.zeros((1, 1, 1, 1), np.float16)}
    with pytest.raises(WeightsError, match="convolution 3 does not fit"):
        silhouette_state(other)


def test_bad_files_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="make teacher"):
        fetch_silhouette(tmp_path / "out", tmp_path / "python")
    (tmp_path / "no.safetensors").write_bytes(b"nothing of the kind")
    for path in (tmp_path / "no.safetensors", tmp_path / "missing"):
        with pytest.raises(WeightsError, match="no silhouette network"):
            load_silhouette(SmallSilhouette(), path)


def test_a_face_is_the_person_whatever_the_network_says() -> None:
    points = torch.tensor([[[-0.2, 0.0], [0.4, 0.0], [0.1, -0.5], [0.1, 0.3]]])
    inside = oval(points, 128)[0, 0]
    assert inside[64 - 6, 64 + 6] == 1  # the middle
    assert inside[64 - 31, 64 + 6] == 1
    assert inside[64 - 33, 64 + 6] == 0  # above the forehead
    assert inside[64 - 30, 64 + 24] == 0  # a corner of the box
    assert inside[64 - 6, 64 + 27] == 0


def test_a_rim_goes_with_the_person() -> None:
    person, _ = cut_out(torch.zeros(1, 3, 256, 256), disc(256))
    assert person.shape == (1, 1, 256, 256)
    across = person[0, 0, 128]
    assert across[128 + 64 - 1] > 0.9  # the disc ends at 64
    assert across[128 + 64 + 2] > 0.5
    assert across[128 + 64 + 8] == 0
    assert person.min() >= 0
    assert person.max() <= 1


def test_behind_a_person_goes_on_what_is_beside() -> None:
    image = torch.zeros(1, 3, 256, 256)
    image[:, 0, :, :128], image[:, 2, :, 128:] = 1.0, 1.0  # red left, blue right
    image = torch.where(disc(256) > 0, 0.5, image)
    _, behind = cut_out(image, disc(256))
    away = disc(256, radius=0.56) == 0
    torch.testing.assert_close(torch.where(away, behind, 0.0), torch.where(away, image, 0.0))
    assert behind[0, 0, 128, 80] > 0.7
    assert behind[0, 2, 128, 176] > 0.7
    assert behind[0, 1].max() < 0.01  # none of the person's grey


def test_what_is_known_nowhere_and_what_is_known_at_one_place() -> None:
    assert painted_over(torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)).isfinite().all()
    one = torch.zeros(1, 1, 64, 64)
    one[..., 3, 5] = 1
    torch.testing.assert_close(painted_over(torch.full((1, 3, 64, 64), 0.25), one), torch.full((1, 3, 64, 64), 0.25))


@torch.no_grad()
def test_lines_behind_a_moving_head_stay_straight() -> None:
    torch.manual_seed(0)
    networks = SmallNetworks().eval()
    image = (torch.arange(256) // 8 % 2).float().expand(1, 3, 256, 256).clone()  # bars
    image = torch.where(disc(256, radius=0.35) > 0, 0.5, image)
    points = 0.15 * torch.randn(1, SMALL.keypoints, 3, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(1)
    still = Motion(zero, zero, zero, torch.zeros(1, 3), zero + 1, torch.zeros(1, SMALL.keypoints, 3))
    moved = replace(still, translation=torch.tensor([[0.1, 0.0, 0.0]]))
    features = networks.appearance(image, networks.canonical(image), networks.motion(image))
    person, backdrop = cut_out(image, disc(256, radius=0.35))
    aside = (disc(256, radius=0.45) + disc(256, x=0.1, radius=0.45)) == 0

    def bent(layers: dict[str, Tensor]) -> float:
        frame = networks.synthesise(features | layers, CanonicalKeypoints(points), still, moved).frame
        return float(((frame - image).abs() * aside).sum() / aside.sum() / 3)

    assert bent({}) > 0.02  # without weights, one layer
    assert bent({"person": person, "backdrop": backdrop}) < 0.3 * bent({})
