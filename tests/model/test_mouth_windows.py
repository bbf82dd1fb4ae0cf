"""Mouth windows in the assembled model, at both sizes; and what evaluation and files make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.clip.decoder import DecodeFiles, decode_clip
from model.codec.source_image import decode_source, encode_source
from model.codec.vav import VavWriter, read_vav
from model.codec.window import encode_window
from model.errors import BitstreamError, InputError
from model.evaluate.clips import Clip, with_closed_lips
from model.evaluate.mouth_windows import table, windows_gain
from model.evaluate.scoring import Networks
from model.media.video import read_frames
from model.motion import Motion, View
from model.networks.small_config import GUIDED
from model.perceptual.networks import Lpips
from model.source.mouth_choice import mouth_points
from model.source_state import SourceState
from model.talking_head import TalkingHead
from model.window.corners import corner_coordinates
from model.window.mouth import MouthWindow


class Picture(torch.nn.Module):
    """A feature network whose one feature map is the picture."""

    def forward(self, picture: torch.Tensor) -> list[torch.Tensor]:
        return [picture]


class Distance(Lpips):
    """Stands for LPIPS: the picture itself is its one feature."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.features: torch.nn.Module = Picture()

    def between(self, a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> torch.Tensor:
        return (a[0] - b[0]).abs().mean((1, 2, 3))


PORTRAIT = Path(__file__).parents[2] / "server" / "sender" / "media" / "portrait.vav"
GREEN = (0, 220, 0)


def portrait(size: int = 256) -> torch.Tensor:
    picture = torch.from_numpy(decode_source(read_vav(PORTRAIT).images[0]).copy()).permute(2, 0, 1)
    return picture.repeat_interleave(size // 256, 1).repeat_interleave(size // 256, 2)


def opened(state: SourceState, by: float = 0.15) -> Motion:
    """The source's motion with the lower lip lowered by so many crop units."""
    motion = state.motion.to_numpy()[0]
    expression = motion.expression.copy()
    for landmark in (17, 14, 91, 321):
        expression[GUIDED.index(landmark), 1] += by / float(motion.scale)
    return replace(motion, expression=expression)


def green(points: NDArray[np.float32]) -> MouthWindow:
    """A window that is green all over, of a mouth whose keypoints (10, 2) lie there."""
    return MouthWindow(np.full((64, 64, 3), GREEN, np.uint8), corner_coordinates(points)[2:], 0.5, 2.0)


@pytest.mark.parametrize("size", [256, 512])
def test_an_opened_mouth_is_the_windows_and_the_rest_stays(size: int) -> None:
    head = TalkingHead.load()
    plain = head.enrol(portrait(size))
    motion = opened(plain)
    points = mouth_points(plain.keypoints(), motion)
    state = head.with_windows(plain, [green(points)])
    assert state.nbytes > plain.nbytes
    motions = Motion.stack([motion, plain.motion.to_numpy()[0]]).to_torch()
    before, after = (head.render([one, one], motions, size=size).int() for one in (plain, state))
    x, y = ((points[4:6].mean(0) + 1) * size / 2).astype(int)
    # Colours are brought to those around the lips, so what counts is that nothing but green is left.
    r, g, b = after[0, :, y, x].tolist()
    assert g > r + 60
    assert g > b + 60
    assert (before[0] - after[0])[:, : size // 3].abs().max() == 0
    assert torch.equal(before[1], after[1])
    assert head.with_windows(state, []).mouths is None


def test_a_profile_without_landmarks_has_no_use_for_windows() -> None:
    head = TalkingHead.random("small")
    state = head.enrol(portrait())
    assert head.with_windows(state, [green(mouth_points(state.keypoints(), state.motion.to_numpy()[0]))]) is state
    with pytest.raises(InputError, match="no mouth windows"):
        windows_gain(head, [], Networks(Distance()), 8, with_closed_lips)


def test_a_file_with_windows_is_decoded_and_a_damaged_window_is_named(tmp_path: Path) -> None:
    head = TalkingHead.load()
    vav = read_vav(PORTRAIT)
    state = head.enrol(portrait())
    window = encode_window(green(mouth_points(state.keypoints(), opened(state))), speed=10)

    def written(name: str, windows: list[bytes]) -> Path:
        with VavWriter(tmp_path / name, replace(vav.header, audio_channels=0)) as writer:
            writer.source(0, encode_source(portrait().permute(1, 2, 0).numpy(), speed=10))
            for data in windows:
                writer.window(0, data)
            writer.motion(vav.messages[0].data)
        return tmp_path / name

    def files(path: Path) -> DecodeFiles:
        return DecodeFiles.check(path, read_vav(path), path.with_suffix(".mp4"))

    decoded = decode_clip(head, files(written("good.vav", [window])), View())
    assert sum(1 for _ in read_frames(tmp_path / "good.mp4")) == decoded.frames
    with pytest.raises(BitstreamError, match=r"bad\.vav: a window"):
        decode_clip(head, files(written("bad.vav", [b"\x09" + window[1:]])), View())


def test_the_gain_is_told_with_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    head = TalkingHead.load()
    state = head.enrol(portrait())
    closed, wide = state.motion.to_numpy()[0], opened(state)
    frames = [head.render([state], Motion.stack([one]).to_torch())[0] for one in (closed, wide)]
    pictures = np.stack([frame.permute(1, 2, 0).numpy() for frame in frames])
    x, y = ((mouth_points(state.keypoints(), wide)[4:6].mean(0) + 1) * 128).astype(int)
    pictures[1, y - 5 : y + 5, x - 10 : x + 10] = 240  # teeth, which the source image does not show
    times = [0, 0, 1, 1, 1, 0]
    clip = Clip(
        "talk",
        pictures[times],
        25.0,
        Motion.stack([(closed, wide)[i] for i in times]),
        state.keypoints(),
        np.ones(6, bool),
        source=2,
    )
    monkeypatch.setattr("model.evaluate.mouth_windows.read_clip", lambda *_: clip)
    figures = windows_gain(head, [Path("talk.mp4")], Networks(Distance()), 8, with_closed_lips)
    one = figures["clips"]["talk"]
    assert clip.source == 2
    assert one["source"] in (0, 1, 5)
    assert one["windows"] == 1
    assert one["bytes_source"]["without"] <= one["bytes_source"]["with"] + one["bytes_windows"]
    assert one["with"]["lpips_mouth"] < one["without"]["lpips_mouth"]
    assert "talk" in table(figures)
