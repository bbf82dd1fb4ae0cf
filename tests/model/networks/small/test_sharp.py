"""Sharp pictures: detail comes back where nothing moves, goes along with what does, and is no ghost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.description import Profile, small_profile
from model.errors import InputError
from model.networks.grid import pixel_grid
from model.networks.rendered import Layers
from model.networks.small.sharp import SharpSource, detail_weight, enlarged, moved_detail, reduced, with_detail
from model.talking_head import TalkingHead

SIZE, COARSE = 64, 16


def noise(side: int = 2 * SIZE, seed: int = 0) -> Tensor:
    """A picture uint8 (1, 3, side, side) with detail down to single pixels."""
    generator = torch.Generator().manual_seed(seed)
    grey = torch.randint(64, 192, (1, 1, side, side), generator=generator, dtype=torch.uint8)
    return grey.expand(-1, 3, -1, -1).clone()


GREY = torch.full((1, 3, SIZE, SIZE), 0.5)


def layers(shift: float = 0.0, person: float = 1.0, trust: float = 1.0, hidden: float = 0.0) -> Layers:
    """Of a person who has moved by `shift` (crop units) before a background that stands still."""
    still = pixel_grid(COARSE, COARSE, GREY).permute(2, 0, 1)[None]
    moved = still + torch.tensor([shift, 0.0])[:, None, None]
    layer = torch.ones(1, 1, COARSE, COARSE)
    share = torch.full((1, 1, SIZE, SIZE), person)
    return Layers(GREY, share, hidden * layer, trust * layer, torch.cat([moved, still], 1))


def source(picture: Tensor) -> SharpSource:
    return SharpSource.of(picture.float() / 255)


def error(picture: Tensor, truth: Tensor, margin: int = 4) -> float:
    inside = slice(margin, -margin)
    return float((picture.float() - truth.float())[..., inside, inside].abs().mean())


def test_what_stands_still_comes_back() -> None:
    truth = noise()
    low = reduced(truth)
    sharp = with_detail(low, moved_detail(GREY, layers(), source(truth)))
    assert sharp.shape == truth.shape
    assert sharp.dtype == torch.uint8
    assert error(sharp, truth) < 0.4 * error(enlarged(low), truth)


@pytest.mark.parametrize("pixels", [2, 10])
def test_detail_goes_with_the_person(pixels: int) -> None:
    original = noise()
    truth = original.roll(-pixels, -1)
    sharp = with_detail(reduced(truth), moved_detail(GREY, layers(shift=2 * pixels / (2 * SIZE)), source(original)))
    assert error(sharp, truth, margin=16) < 0.5 * error(enlarged(reduced(truth)), truth, margin=16)


def test_the_background_keeps_its_own_place() -> None:
    truth = noise()
    sharp = with_detail(reduced(truth), moved_detail(GREY, layers(shift=0.2, person=0.0), source(truth)))
    assert error(sharp, truth) < 0.4 * error(enlarged(reduced(truth)), truth)


@pytest.mark.parametrize("ghost", [{"painted": 0.3}, {"painted": -0.3}, {"trust": 0.0}, {"person": 0.0, "hidden": 1.0}])
def test_nothing_is_shown_where_it_would_be_a_ghost(ghost: dict[str, float]) -> None:
    """Painted over, not to be trusted, or behind the person in the source image."""
    frame = GREY + ghost.pop("painted", 0.0)
    shown = moved_detail(frame, layers(**ghost), source(noise()))
    assert shown.abs().max() < 0.01 * moved_detail(GREY, layers(), source(noise())).abs().max()


def test_a_surface_that_is_stretched_shows_less() -> None:
    still = pixel_grid(COARSE, COARSE, GREY).permute(2, 0, 1)[None]
    one, none = torch.ones(1, 1, COARSE, COARSE), torch.zeros(1, 1, COARSE, COARSE)
    turned = torch.stack([still[:, 1], -still[:, 0]], 1)
    weights = {}
    for name, flow in {"still": still, "turned": turned, "half": still / 2, "mirrored": still.flip(3)}.items():
        flows = torch.cat([flow, still], 1)
        middle = detail_weight(GREY, Layers(GREY, torch.ones(1, 1, SIZE, SIZE), none, one, flows))
        weights[name] = float(middle[..., 16:-16, 16:-16].mean())
    assert weights["still"] == pytest.approx(1.0, abs=1e-3)
    assert weights["turned"] == pytest.approx(1.0, abs=1e-3)
    assert weights["half"] < 0.5


def test_a_picture_without_more_pixels_is_enlarged() -> None:
    low = reduced(noise())
    plain = SharpSource.enlarged(low.float() / 255)
    assert with_detail(low, moved_detail(GREY, layers(), plain)).equal(enlarged(low))


def test_sizes_of_a_profile() -> None:
    small, other = small_profile(), Profile("other", small_profile().layout, 256)
    assert (small.sizes, other.sizes) == ((256, 512), (256,))
    assert [small.source_size(pixels) for pixels in (100, 256, 383, 384, 480, 2000)] == [256, 256, 256, 512, 512, 512]
    assert other.source_size(2000) == 256


@pytest.fixture(scope="module")
def head() -> TalkingHead:
    return TalkingHead.random(seed=1)


def test_a_source_image_of_either_size_renders_at_either(head: TalkingHead) -> None:
    large = noise(512)
    sharp, plain = head.enrol(large), head.enrol(reduced(large))
    assert sharp.sharp is not None
    assert plain.sharp is None
    assert sharp.nbytes == plain.nbytes + sharp.sharp.nbytes
    for name, feature in plain.features.items():
        torch.testing.assert_close(sharp.features[name], feature)
    motion = plain.motion
    small = [head.render([state], motion) for state in (sharp, plain)]
    assert small[0].equal(small[1])
    pictures = [head.render([state], motion, size=512) for state in (sharp, plain)]
    assert [picture.shape for picture in pictures] == [(1, 3, 512, 512)] * 2
    assert pictures[1].equal(enlarged(small[1]))
    assert error(pictures[0], large) < error(pictures[1], large)
    both = head.render([sharp, plain], type(motion).concatenate([motion, motion]), size=512)
    for one, picture in zip(both[:, None], pictures, strict=True):
        assert (one.int() - picture.int()).abs().max() <= 1


def test_other_sizes_are_refused(head: TalkingHead) -> None:
    state = head.enrol(noise(256))
    with pytest.raises(InputError, match="256 or 512 pixels"):
        head.render([state], state.motion, size=400)
    with pytest.raises(InputError):
        head.enrol(noise(400))
    with pytest.raises(InputError):
        head.enrol(noise(512).float())
