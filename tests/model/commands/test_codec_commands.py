"""`encode`, `decode` and `info` on a real picture with an untrained model: counts, times, sound, and bad input."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from model.__main__ import main
from model.codec.vav import read_vav
from model.media.provenance import DIGITAL_SOURCE_TYPE
from model.media.video import read_frames
from model.talking_head import TalkingHead
from tests.model.certificates import write_signer
from tests.model.clips import beep_start, portrait, write_clip, write_image

HEAD = TalkingHead.random("small", seed=0)
FRAMES = 14
TIMES = [40 * i for i in range(FRAMES)]


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands run with an untrained model, so that these tests hold whatever the weights."""
    monkeypatch.setattr(TalkingHead, "load", staticmethod(lambda *_, **__: HEAD))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip (14 frames, beep at 0.3 s), encoded, with its reference."""
    folder = tmp_path_factory.mktemp("codec")
    write_clip(folder / "in.mp4", TIMES, beep_at=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TalkingHead, "load", staticmethod(lambda *_, **__: HEAD))
        arguments = [str(folder / "in.mp4"), str(folder / "clip.vav"), "--reference", str(folder / "ref.mkv")]
        assert main(["encode", *arguments]) == 0
    return folder


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run a command that succeeds; return its JSON."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


def fails(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: object) -> str:
    """Run a command that must fail with one line, status 2, and nothing new in `folder`; return the line."""
    before = sorted(folder.iterdir())
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.replace("\r", "\n").split("\n") if line.startswith("python -m model")]
    assert len(lines) == 1
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert sorted(folder.iterdir()) == before
    return lines[0]


@pytest.mark.slow
def test_decode_gives_the_clip_back(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = files / "out.mp4"
    figures = run_json(capsys, "decode", files / "clip.vav", out, "--yaw", 15)
    assert figures == {"frames": FRAMES, "seconds": 0.56, "size": 256, "complete": True}
    frames = list(read_frames(out))
    assert [timed.time for timed in frames] == [Fraction(ms, 1000) for ms in TIMES]
    assert frames[0].rgb().shape == (256, 256, 3)
    assert beep_start(out) == pytest.approx(beep_start(files / "in.mp4"), abs=0.01)


@pytest.mark.slow
def test_decode_gives_sharp_pictures(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of any file: the film's crop has no 512 pixels, so its pictures are enlarged."""
    figures = run_json(capsys, "decode", files / "clip.vav", files / "sharp.mp4", "--size", 512)
    assert figures["size"] == 512
    assert next(iter(read_frames(files / "sharp.mp4"))).rgb().shape == (512, 512, 3)
    line = fails(capsys, files, "decode", files / "clip.vav", files / "none.mp4", "--size", 301)
    assert "64 to 2048 pixels a side, not 301" in line
    run_json(capsys, "decode", files / "clip.vav", files / "small.mp4", "--size", 300)
    assert next(iter(read_frames(files / "small.mp4"))).rgb().shape == (300, 300, 3)


def test_info_counts_every_byte(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run_json(capsys, "info", files / "clip.vav")
    assert figures["frames"] == FRAMES
    assert figures["seconds"] == pytest.approx(0.56)
    assert figures["bytes_file"] == (files / "clip.vav").stat().st_size
    parts = ("bytes_source", "bytes_motion", "bytes_audio", "bytes_container")
    assert sum(figures[part] for part in parts) == figures["bytes_file"]
    assert figures["kbps_motion"] == pytest.approx(figures["bytes_motion"] / FRAMES * 0.2, abs=1e-3)
    assert figures["weights"] == HEAD.weights_hash
    assert main(["info", str(files / "clip.vav")]) == 0
    assert "14 frames, 0.56 s" in capsys.readouterr().out


def test_reference_is_what_was_encoded(files: Path) -> None:
    """Its frames are the crops that were coded."""
    pictures = [timed.rgb() for timed in read_frames(files / "ref.mkv")]
    assert len(pictures) == FRAMES
    assert pictures[0].shape == (256, 256, 3)
    header = read_vav(files / "clip.vav").header
    from model.face.crop import Crop

    frame = next(iter(read_frames(files / "in.mp4"))).rgb()
    crop = Crop(header.crop_x, header.crop_y, header.crop_side)
    assert np.abs(crop.cut(frame, 256).astype(int) - pictures[0]).mean() < 0.5


def test_encode_is_deterministic_and_takes_options(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = run_json(capsys, "encode", files / "in.mp4", files / "again.vav")
    assert (files / "again.vav").read_bytes() == (files / "clip.vav").read_bytes()
    silent = run_json(capsys, "encode", files / "in.mp4", files / "silent.vav", "--no-audio", "--step", 0.25)
    assert silent["bytes_audio"] == 0
    assert silent["step"] == 0.25
    assert silent["bytes_motion"] > one["bytes_motion"]
    budget = run_json(capsys, "encode", files / "in.mp4", files / "budget.vav", "--step", 0.02, "--kbps", 1.5)
    assert budget["bytes_motion"] * 8 / 0.56 / 1000 <= 1.5


@pytest.mark.slow
def test_variable_frame_rate_keeps_its_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = [0, 33, 66, 150, 180, 400, 433]
    write_clip(tmp_path / "in.mkv", times)
    figures = run_json(capsys, "encode", tmp_path / "in.mkv", tmp_path / "clip.vav")
    assert figures["fps"] is None
    run_json(capsys, "decode", tmp_path / "clip.vav", tmp_path / "out.mkv")
    assert [timed.time for timed in read_frames(tmp_path / "out.mkv")] == [Fraction(ms, 1000) for ms in times]


@pytest.mark.slow
def test_another_face(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(files / "other.png", portrait()[:, ::-1])
    figures = run_json(capsys, "decode", files / "clip.vav", files / "avatar.mp4", "--source", files / "other.png")
    assert figures["frames"] == FRAMES


def first_picture(path: Path) -> np.ndarray[Any, Any]:
    return next(iter(read_frames(path))).rgb().astype(int)


@pytest.mark.slow
def test_decoded_pictures_are_marked_unless_that_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(files / "other.png", portrait()[:, ::-1])
    avatar = ("--source", files / "other.png")
    for name, options in (("plain", ()), ("avatar", avatar)):
        marked, bare = files / f"{name}.mp4", files / f"{name}-bare.mp4"
        run_json(capsys, "decode", files / "clip.vav", marked, *options)
        run_json(capsys, "decode", files / "clip.vav", bare, *options, "--no-mark")
        different = np.abs(first_picture(marked) - first_picture(bare)).max(2) > 30
        where = np.argwhere(different)
        assert len(where) > 100
        assert where[:, 0].max() < 40, "upper"
        assert where[:, 1].min() > 160, "right"
        for path in (marked, bare):
            with av.open(str(path), options={"export_xmp": "1"}) as container:
                assert DIGITAL_SOURCE_TYPE in container.metadata["xmp"]
                assert ("an avatar" in container.metadata["comment"]) == (options == avatar)
                assert "The sound was recorded" in container.metadata["comment"]


@pytest.mark.slow
def test_decoded_files_are_signed_by_whoever_is_configured(
    tmp_path: Path, files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed (requirements-c2pa.txt)")
    certificate, key = write_signer(tmp_path)
    monkeypatch.setenv("VISAVIS_C2PA_CERTIFICATE", str(certificate))
    out = tmp_path / "signed.mp4"
    assert "needs both" in fails(capsys, tmp_path, "decode", files / "clip.vav", out)
    monkeypatch.setenv("VISAVIS_C2PA_KEY", str(key))
    assert "only .mp4" in fails(capsys, tmp_path, "decode", files / "clip.vav", out.with_suffix(".webm"))
    run_json(capsys, "decode", files / "clip.vav", out)
    with out.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        assert reader.get_validation_state() == "Valid"
    assert len(list(read_frames(out))) == FRAMES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain.pem", "key.pem", "signed.mp4"]


@pytest.mark.slow
def test_cut_file_decodes_up_to_the_cut(tmp_path: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (files / "clip.vav").read_bytes()
    (tmp_path / "cut.vav").write_bytes(data[:-20])
    capsys.readouterr()
    assert main(["decode", str(tmp_path / "cut.vav"), str(tmp_path / "out.mp4"), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["complete"] is False
    assert "was cut" in captured.err
    assert len(list(read_frames(tmp_path / "out.mp4"))) == FRAMES


def test_bad_input_to_encode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "nobody.mp4", TIMES[:3], faces=0)
    write_clip(tmp_path / "two.mp4", TIMES[:3], faces=2)
    write_image(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
    (tmp_path / "junk.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "two.mp4").read_bytes()[:3000])
    out = tmp_path / "out.vav"
    expected = {
        "nobody.mp4": "no face",
        "two.mp4": "several faces",
        "dot.png": "no face",
        "junk.mp4": "not a readable video",
        "empty.mp4": "not a readable video",
        "cut.mp4": "not a readable video",
        "missing.mp4": "no such file",
    }
    for name, message in expected.items():
        reference = tmp_path / "ref.mkv"
        assert message in fails(capsys, tmp_path, "encode", tmp_path / name, out, "--reference", reference)


def test_bad_places(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = files / "in.mp4"
    assert "different files" in fails(capsys, files, "encode", clip, clip)
    assert "not a folder" in fails(capsys, files, "encode", clip, files / "missing" / "out.vav")
    assert "source frame" in fails(capsys, files, "encode", clip, files / "x.vav", "--source-frame", FRAMES)
    assert "kbit/s" in fails(capsys, files, "encode", clip, files / "x.vav", "--kbps", 0.001)
    assert "cannot be written" in fails(capsys, files, "decode", files / "clip.vav", files / "out.nonsense")
    assert "different files" in fails(capsys, files, "decode", files / "clip.vav", files / "clip.vav")


def test_bad_input_to_decode(tmp_path: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (files / "clip.vav").read_bytes()
    (tmp_path / "random.vav").write_bytes(np.random.default_rng(1).bytes(3000))
    (tmp_path / "header.vav").write_bytes(data[:50])
    (tmp_path / "source.vav").write_bytes(data[:1000])
    (tmp_path / "damaged.vav").write_bytes(data[:3000] + b"?" + data[3001:])
    (tmp_path / "other.vav").write_bytes(data)
    write_image(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
    write_image(tmp_path / "two.png", np.concatenate([portrait(), portrait()], 1))
    out = tmp_path / "out.mp4"
    expected = {
        "random.vav": "not a .vav file",
        "header.vav": "cut before the end of its header",
        "source.vav": "cut before the end of its source image",
        "damaged.vav": "damaged",
        "missing.vav": "cannot be read",
    }
    for name, message in expected.items():
        assert message in fails(capsys, tmp_path, "decode", tmp_path / name, out)
        assert message in fails(capsys, tmp_path, "info", tmp_path / name)
    for name, message in {
        "dot.png": "no face",
        "two.png": "several faces",
        "random.vav": "not a readable image",
    }.items():
        line = fails(capsys, tmp_path, "decode", tmp_path / "other.vav", out, "--source", tmp_path / name)
        assert message in line


def test_other_weights_are_refused(
    tmp_path: Path, files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TalkingHead.random("small", seed=1)
    monkeypatch.setattr(TalkingHead, "load", staticmethod(lambda *_, **__: other))
    line = fails(capsys, tmp_path, "decode", files / "clip.vav", tmp_path / "out.mp4")
    assert HEAD.weights_hash[:12] in line
    assert other.weights_hash[:12] in line


def test_profile_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--profile", "small", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"extract", "enrol", "render"} <= {row["module"] for row in rows}
    assert main(["info", "--profile", "small"]) == 0
    assert "GMAC" in capsys.readouterr().out


def test_info_wants_one_thing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "either" in fails(capsys, tmp_path, "info")
    assert "unknown profile" in fails(capsys, tmp_path, "info", "--profile", "huge")
