"""Only the window around the face is painted; it is the same part of the maps of every scale."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from model.graphs.tracing import trace
from model.networks.small import window as module
from model.networks.small.window import CELLS, Window

HIGH, WIDE = module._HIGH, module._WIDE


def at(top: int, left: int) -> Window:
    return Window(torch.tensor([float(top)]), torch.tensor([float(left)]))


def head(x: float, y: float) -> Tensor:
    """Keypoints around a place, crop units."""
    return torch.tensor([[[x - 0.3, y - 0.4], [x + 0.3, y + 0.4], [x, y]]])


@given(st.integers(0, CELLS - HIGH), st.integers(0, CELLS - WIDE), st.sampled_from([1, 2, 8]))
def test_a_window_holds_its_part_of_maps_of_every_scale(top: int, left: int, scale: int) -> None:
    maps = torch.rand(1, 3, CELLS * scale, CELLS * scale, generator=torch.Generator().manual_seed(0))
    part = at(top, left).of(maps)
    rows, columns = (slice(first * scale, (first + n) * scale) for first, n in ((top, HIGH), (left, WIDE)))
    torch.testing.assert_close(part, maps[:, :, rows, columns], atol=1e-4, rtol=0)
    whole = at(top, left).placed(part, CELLS * scale)
    wanted = torch.zeros_like(maps)
    wanted[:, :, rows, columns] = maps[:, :, rows, columns]
    torch.testing.assert_close(whole, wanted, atol=1e-4, rtol=0)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_it_lies_around_the_head_and_in_the_picture(x: float, y: float) -> None:
    window = Window.around(head(x, y))
    for first, cells, place in ((window.top, HIGH, y), (window.left, WIDE, x)):
        assert float(first) == round(float(first))
        assert 0 <= float(first) <= CELLS - cells
        wanted = min(max((place + 1) * CELLS / 2 - cells / 2, 0), CELLS - cells)
        assert float(first) == pytest.approx(wanted, abs=0.51)


@pytest.mark.parametrize("wild", [math.nan, math.inf, 1e30])
def test_wild_keypoints_leave_it_in_the_picture(wild: float) -> None:
    window = Window.around(torch.full((1, 3, 2), wild))
    assert float(window.top) == (CELLS - HIGH) / 2
    assert float(window.left) == (CELLS - WIDE) / 2


def test_painting_begins_softly_but_not_at_the_borders_of_the_picture() -> None:
    share = at(0, 3).share(HIGH * 8, WIDE * 8)[0, 0]
    assert share[: HIGH * 4, 20:-20].min() == 1, "the window touches the upper border"
    assert share[:, 0].max() < 0.1
    assert share[-1].max() < 0.1
    steps = (share[HIGH * 4, 1:] - share[HIGH * 4, :-1]).abs()
    assert float(steps.max()) < 0.1


def test_each_of_a_batch_has_its_own() -> None:
    maps = torch.arange(float(CELLS)).expand(2, 1, CELLS, CELLS)
    part = Window(torch.tensor([0.0, 4.0]), torch.tensor([2.0, 7.0])).of(maps)
    torch.testing.assert_close(part[:, 0, 0, 0], torch.tensor([2.0, 7.0]), atol=1e-3, rtol=0)


class _CutAndPlaced(nn.Module):
    def forward(self, top: Tensor, left: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        part = Window(top, left).of(maps)
        return part, Window(top, left).placed(part, maps.shape[-1])


@given(
    st.integers(0, CELLS - HIGH), st.integers(0, CELLS - WIDE), st.sampled_from([1, 2, 8]), st.sampled_from([2, 15, 16])
)
def test_a_trace_copies_the_window_exactly(top: int, left: int, scale: int, channels: int) -> None:
    maps = torch.rand(1, channels, CELLS * scale, CELLS * scale, generator=torch.Generator().manual_seed(0))
    traced = trace(_CutAndPlaced(), (torch.zeros(1), torch.zeros(1), maps))
    part, whole = traced(torch.tensor([float(top)]), torch.tensor([float(left)]), maps)
    rows, columns = (slice(first * scale, (first + n) * scale) for first, n in ((top, HIGH), (left, WIDE)))
    assert torch.equal(part, maps[:, :, rows, columns])
    wanted = torch.zeros_like(maps)
    wanted[:, :, rows, columns] = maps[:, :, rows, columns]
    assert torch.equal(whole, wanted)
