"""Rate-distortion on a tiny synthetic clip; the arithmetic of rates; what is published is made of what was measured."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.errors import InputError
from model.evaluate import external_encoder, published_rates, wire
from model.evaluate.bjontegaard import bd_rate
from model.evaluate.clips import Clip
from model.evaluate.conventional import CODECS, Coded, code
from model.evaluate.plot import plot
from model.evaluate.rate_distortion import (
    OWN,
    YARDSTICK,
    Judge,
    Point,
    RateDistortion,
    bjontegaard,
    codec_points,
    matched,
    mean_points,
    motion_points,
    named,
    rate_at,
    rates_of,
    table,
)
from model.evaluate.scoring import Networks
from model.perceptual import weights as perceptual_weights
from model.perceptual.networks import Lpips
from model.talking_head import TalkingHead


@pytest.fixture(scope="module")
def networks() -> Networks:
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.rand(shape, generator=generator) * 0.02 for name, shape in perceptual_weights.layout().items()
    }
    return Networks(Lpips(weights=weights), lpips_vgg=Lpips("vgg", weights), vgg_every=4)


def point(system: str, kbps: float, lpips: float, setting: int = -1) -> Point:
    """A point whose payload and rate on the wire are given, with a first picture of 1,000 bytes."""
    rates = rates_of(kbps, 2 * kbps, 1000, voice=True)
    return Point(system, setting, **rates, lpips=lpips, lpips_vgg=None, ms_ssim=1 - lpips, psnr=30.0, ssim=0.9,
                 flicker=None, expression={"mesh": {"lids": {"r": 0.9, "slope": 0.8}}})  # fmt: skip


def numbers(one: Point) -> dict[str, Any]:
    """All that is a number in a point."""
    return {name: value for name, value in asdict(one).items() if isinstance(value, float | int)}


@pytest.mark.parametrize("name", list(CODECS))
def test_codecs_give_back_every_frame_and_count_its_bytes(name: str, clip: Clip) -> None:
    if CODECS[name].container is not None:
        pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is an evaluation-only dependency")
    good = code(clip.frames, CODECS[name], CODECS[name].qualities[0])
    bad = code(clip.frames, CODECS[name], CODECS[name].qualities[-1])
    assert good.frames.shape == clip.frames.shape
    assert len(good.sizes) == len(clip.frames)
    assert good.sizes[0] > sum(good.sizes[1:]) / 4  # one keyframe, at the start
    assert bad.kbps() < good.kbps() < good.kbps_wire()
    error = [np.abs(coded.frames.astype(int) - clip.frames).mean() for coded in (good, bad)]
    assert error[0] < 6
    assert error[0] < error[1]


def test_a_codec_that_is_not_there_is_an_input_error(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(CODECS[YARDSTICK], encoder="libvisavis")
    with pytest.raises(InputError, match=YARDSTICK):
        code(clip.frames, missing, 30)
    monkeypatch.setattr(external_encoder, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"requirements-evaluate\.txt"):
        code(clip.frames, CODECS["vvenc-faster"], 30)


def test_codecs_are_chosen_by_name() -> None:
    assert list(named(None)) == list(CODECS)
    assert list(named(["vp9-realtime"])) == ["vp9-realtime"]
    with pytest.raises(InputError, match="no codec is named h266"):
        named(["h266"])


def test_rates_count_headers_of_every_packet() -> None:
    coded = Coded(np.zeros((2, 2, 2, 3), np.uint8), (1201, 100))
    assert coded.kbps(25) == pytest.approx(1301 * 8 * 25 / 2 / 1000)
    assert coded.kbps_wire(25) == pytest.approx((1301 + 3 * 55) * 8 * 25 / 2 / 1000)


def test_what_is_sent_once_is_spread_over_the_call() -> None:
    assert wire.image_bytes(2401) == 2401 + 3 * 93
    assert wire.spread_kbps(5.0, 10_000, 10) == pytest.approx(13.0)
    rates = rates_of(4.0, 5.0, 10_000, voice=True)
    assert rates["kbps_600s"] == pytest.approx(5.0 + 80 / 600)
    assert rates["kbps_call"] == pytest.approx(5.0 + 14 + 64 * 8 / 60)
    assert rates_of(4.0, 5.0, 10_000, voice=False)["kbps_call"] == 5.0


def test_points_and_what_they_add_up_to(networks: Networks, head: TalkingHead, clip: Clip, tmp_path: Path) -> None:
    judge = Judge(clip, networks, 1)
    motion, unquantised = motion_points(head, clip, clip, judge, steps=(-8, 8))
    assert [one.setting for one in motion] == [-8, 8]
    assert all(one.kbps < one.kbps_wire < one.kbps_600s < one.kbps_10s for one in motion)
    assert motion[0].lpips == pytest.approx(unquantised["lpips"], rel=0.2)
    assert motion[0].lpips_vgg == pytest.approx(unquantised["lpips_vgg"], rel=0.3)
    (alone, _), _ = motion_points(head, clip, clip, judge, voice=False, steps=(-8, 8))
    assert alone.kbps_wire - alone.kbps > 5 * (motion[0].kbps_wire - motion[0].kbps)  # the data channel's headers
    assert alone.kbps_call == alone.kbps_wire
    codec = codec_points(CODECS["vp9-realtime"], clip, judge)
    coded = code(clip.frames, CODECS["vp9-realtime"], codec[0].setting)
    assert codec[0].kbps == pytest.approx(sum(coded.sizes[1:]) * 8 * 25 / 4 / 1000)  # without the keyframe
    assert codec[0].once_bytes == wire.picture_bytes(coded.sizes[0])
    means = mean_points([motion + codec, motion + codec])
    for mean, one in zip(means, motion + codec, strict=True):
        assert numbers(mean) == pytest.approx(numbers(one))
    assert len(matched(means)) == 2
    pytest.importorskip("matplotlib", reason="matplotlib is an evaluation-only dependency")
    plot({"256 px": means}, tmp_path / "out" / "rd.png", {"256 px": 0.1})
    with Image.open(tmp_path / "out" / "rd.png") as picture:
        assert picture.width > 500


def test_equal_quality_is_interpolated_and_never_extrapolated() -> None:
    curve = [point("x", 10, 0.3), point("x", 40, 0.1)]
    assert rate_at(curve, 0.2) == pytest.approx(20.0)
    assert rate_at(curve, 0.05) is None
    times = matched([point(OWN, 4, 0.2), *curve])[0]["systems"]["x"]
    assert [times["kbps"], times["kbps_wire"]] == [pytest.approx(5.0)] * 2
    assert times["kbps_10s"] < times["kbps_600s"] < 5.0
    assert times["kbps_call"] < 5.0
    assert matched([point(OWN, 4, 0.05), *curve])[0]["systems"]["x"]["kbps"] is None


def test_bjontegaard_rates() -> None:
    reference = [(10.0, 30.0), (20.0, 33.0), (40.0, 36.0), (80.0, 38.5)]
    assert bd_rate(reference, reference) == pytest.approx(0.0, abs=1e-9)
    half = [(rate / 2, quality) for rate, quality in reference]
    assert bd_rate(half, reference) == pytest.approx(-50.0)
    assert bd_rate(reference, half) == pytest.approx(100.0)
    falling = [(rate, -quality) for rate, quality in reference]  # as a distance
    assert bd_rate([(rate / 4, q) for rate, q in falling], falling) == pytest.approx(-75.0)
    assert bd_rate([*half, (45.0, 20.0)], reference) == pytest.approx(-50.0)  # a point that another beats
    assert bd_rate([(rate, quality + 20) for rate, quality in reference], reference) is None
    assert bd_rate(half[:2], reference) is None


def test_bjontegaard_rates_stand_by_codec_and_metric() -> None:
    own = [point(OWN, kbps, 0.2 / kbps) for kbps in (1.0, 2.0, 4.0)]
    other = [point("x", 10 * kbps, 0.2 / kbps) for kbps in (1.0, 2.0, 4.0)]
    assert bjontegaard(own + other) == {"x": {"lpips": pytest.approx(-90), "lpips_vgg": None,
                                              "ms_ssim": pytest.approx(-90)}}  # fmt: skip


def result(size: int = 256) -> RateDistortion:
    """Of one clip, made up."""
    own = [point(OWN, kbps, 0.2 / kbps, step) for kbps, step in ((1.0, 1), (2.0, -4), (4.0, -9))]
    x264 = [point(YARDSTICK, 10 * kbps, 0.2 / kbps, 20) for kbps in (1.0, 2.0, 4.0)]
    points = mean_points([own, [replace(one, setting=20 + i) for i, one in enumerate(x264)]])
    scores: dict[str, Any] = dict.fromkeys(("lpips", "lpips_vgg", "ms_ssim", "psnr", "ssim", "flicker"), 0.1)
    return RateDistortion(size, 5, 1, True, points, scores, scores | {"lpips_vgg": None}, matched(points),
                          bjontegaard(points), {"one": points}, {}, {}, "0" * 64)  # fmt: skip


def test_what_was_measured_is_kept_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_rates, "FIGURES", tmp_path / "rates.json")
    with pytest.raises(InputError, match=r"rates\.json"):
        published_rates.read()
    for size in (512, 256, 256):
        published_rates.save(result(size))
    published = published_rates.read()
    assert list(published) == ["256", "512"]
    kept, given = published_rates.points_of(published, "512"), result().points
    assert [numbers(one) for one in kept] == [pytest.approx(numbers(one), rel=1e-4) for one in given]
    monkeypatch.setattr(published_rates, "CALL_LPIPS", 0.073)
    assert "payloadKbps: 29.1," in published_rates.page_module(published)
    with pytest.raises(InputError, match=YARDSTICK):
        published_rates.page_module({"256": published["256"] | {"points": published["256"]["points"][:4]}})
    text = published_rates.markdown(published)
    assert "| 256 | 1 | 0.1000 | 2.0 | 4.0 | 26.5 | 4.8 | 4.0 | 1000 |" in text
    assert f"| 512 | {YARDSTICK} | 10.0 | 10.0 |" in text
    assert "0.90 / 0.80" in text
    assert "-90 %" in table(result())
    json.dumps(asdict(result()), allow_nan=False)


def test_the_page_and_the_documents_show_what_was_measured() -> None:
    """Made anew by `python -m model rd --published`."""
    published = published_rates.read()
    assert published_rates.PAGE.read_text() == published_rates.page_module(published)
    quality = (published_rates.FIGURES.parent / "quality.md").read_text()
    for part in published_rates.markdown(published).split("\n\n"):
        assert part in quality
    for figures in published.values():
        assert all(math.isfinite(one["kbps_wire"]) for one in figures["points"])
