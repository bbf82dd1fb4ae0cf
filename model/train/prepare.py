"""Training data from clips: fixed square crops as small videos, teacher landmarks, head pose, and a manifest.

OUT/NAME.mp4          the kept frames of one crop, H.264
OUT/NAME.npz          points float16 (T, 478, 3) crop units, present bool (T,), pose float32 (T, 6)
OUT/manifest.json     list of what is to be trained on, one object a crop
OUT/dropped.json      what was left out and why
OUT/records/*.json    one per source file, written last: a second run skips these files
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from model.arrays import Floats
from model.errors import InputError
from model.media.atomic_file import complete_file
from model.media.picture import read_picture
from model.teacher.decompose import FACE_SHAPE, decompose, fit_face_shape
from model.teacher.landmarks import LandmarkSource, Teacher
from model.train.clips import TARGET_FPS, Frames, read_clip, shot_crops, to_crop_units, to_pixels, write_clip
from model.train.pseudo_motion import pseudo_clip

LEAST_FRAMES = 12
LEAST_PRESENT = 0.9
LEAST_FACE = 0.28
"""A smaller face, in shares of the crop's side, teaches little at 256 px."""
STILL_FRAMES = 8
MOST_BRIGHTNESS_CHANGE = 20.0
"""Frames whose mean (0 to 255) is further from the clip's median are fades, wipes or flashes: not trained on."""
MOST_RESIDUAL = 0.12
"""A median misfit above this (share of the eye distance) means that the teacher tracks something else."""


@dataclass(frozen=True)
class Source:
    """One clip to prepare, with what its list says about it."""

    path: Path
    person: str
    licence_class: str
    licence: str
    kind: str = "clip"  # or "still"


_SUFFIXES = {"clip": (".mp4", ".mov", ".mkv", ".webm", ".avi"), "still": (".jpg", ".jpeg", ".png", ".webp")}


def exclude(records: list[dict[str, Any]], names: Iterable[str]) -> None:
    """Mark the named records as dropped by hand. Raises InputError for a name that is not there."""
    by_name = {r["name"]: r for r in records}
    for name in names:
        if name not in by_name:
            raise InputError(f"--exclude {name}: no such crop; names are those of manifest.json")
        by_name[name]["dropped"] = by_name[name]["dropped"] or "excluded by hand"


def list_all_sources(folders: Iterable[Path], licence: str | None = None, kind: str = "clip") -> list[Source]:
    """Those of several folders. Raises InputError as `list_sources`, and where a name is there twice."""
    sources = [source for folder in folders for source in list_sources(folder, licence, kind)]
    names = Counter(source.path.stem for source in sources)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise InputError(f"in several folders: {', '.join(twice[:5])}")
    return sources


def list_sources(clips: Path, licence: str | None = None, kind: str = "clip") -> list[Source]:
    """The clips (or stills) of a folder, with person and licence from the list FOLDER.csv beside it or clips.csv in it.

    `licence`: keep this licence class only. Without a list every file is a person of its own, of unknown licence.
    Raises InputError when there is no such folder or nothing in it.
    """
    if not clips.is_dir():
        raise InputError(f"{clips}: no such folder")
    rows: dict[str, dict[str, str]] = {}
    for listed in (clips.with_suffix(".csv"), clips / "clips.csv"):
        if listed.exists():
            with listed.open(newline="", encoding="utf-8") as file:
                rows = {row["file"]: row for row in csv.DictReader(file)}
            break
    sources = []
    for path in sorted(p for p in clips.iterdir() if p.suffix.lower() in _SUFFIXES[kind]):
        row = rows.get(path.name, {})
        source = Source(
            path, row.get("person", path.stem), row.get("licence_class", "unknown"), row.get("licence", "unknown"), kind
        )
        if licence is None or source.licence_class == licence:
            sources.append(source)
    if not sources:
        raise InputError(f"{clips}: no {kind}s{f' of licence class {licence}' if licence else ''}")
    return sources


def prepare_clip(
    source: Source, out: Path, teacher: LandmarkSource, size: int, every: int | None
) -> list[dict[str, Any]]:
    """Prepare one clip; returns its records (kept ones have files, dropped ones a reason in `dropped`)."""
    records: list[dict[str, Any]] = []
    for frames, fps in read_clip(source.path, every):
        height, width = frames.shape[1:3]
        points, present = teacher.landmarks(frames)
        brightness = frames[:, ::4, ::4].mean((1, 2, 3))
        present = present & (np.abs(brightness - np.median(brightness)) <= MOST_BRIGHTNESS_CHANGE)
        points = to_pixels(points, width, height)
        stretches = shot_crops(points, present, width, height, LEAST_FRAMES)
        if not stretches:
            records.append(_record(source, source.path.stem, len(frames), fps, None, "no face for long enough"))
        for stretch, crop in stretches:
            name = f"{source.path.stem}_{len(records)}"
            labels = to_crop_units(points[stretch], crop)
            seen = present[stretch]
            record = _record(source, name, len(labels), fps, [crop.x, crop.y, crop.side], _fault(labels, seen))
            records.append(record)
            if record["dropped"] is None:
                write_clip(out / f"{name}.mp4", np.stack([crop.cut(f, size) for f in frames[stretch]]), fps)
                write_labels(out / f"{name}.npz", labels, seen)
    return records


def prepare_still(source: Source, out: Path, teacher: LandmarkSource, size: int) -> list[dict[str, Any]]:
    """Prepare one photo as a pseudo-clip of `STILL_FRAMES` frames; returns its one record."""
    photo = read_picture(source.path)
    height, width = photo.shape[:2]
    points, present = teacher.landmarks(photo[None], tracking=False)
    if not present[0]:
        return [_record(source, source.path.stem, 1, 0.0, None, "no face")]
    points = to_pixels(points, width, height)
    ((_, crop),) = shot_crops(points, present, width, height, shortest=1)
    labels = to_crop_units(points, crop)
    fault = _fault(labels, present)
    if fault is None:
        # Seeded by the name: the same photo moves the same way in every run.
        random = np.random.default_rng(zlib.crc32(source.path.name.encode()))
        frames, labels = pseudo_clip(crop.cut(photo, 2 * size), labels[0], random, STILL_FRAMES, size)
        if len(frames) < STILL_FRAMES:
            fault = "too turned to be moved by a warp"
    record = _record(source, source.path.stem, len(labels), TARGET_FPS, [crop.x, crop.y, crop.side], fault)
    if fault is None:
        write_clip(out / f"{source.path.stem}.mp4", frames, TARGET_FPS)
        write_labels(out / f"{source.path.stem}.npz", labels, np.ones(len(labels), np.bool_))
    return [record]


def write_labels(path: Path, points: Floats, present: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Write landmarks (T, 478, 3) in crop units and, when the mean face exists, the head pose of each frame."""
    points = np.where(present[:, None, None], points, np.float32(0))
    pose = np.zeros((len(points), 6), np.float32)
    if FACE_SHAPE.exists() and present.any():
        pose[present] = decompose(points[present]).to_array()
    with complete_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, points=points.astype(np.float16), present=present, pose=pose)


def _record(
    source: Source, name: str, frames: int, fps: float, crop: list[float] | None, dropped: str | None
) -> dict[str, Any]:
    return {
        "name": name,
        "person": source.person,
        "licence_class": source.licence_class,
        "licence": source.licence,
        "frames": frames,
        "fps": round(fps, 4),
        "source_file": source.path.name,
        "crop": crop,
        "kind": source.kind,
        "dropped": dropped,
    }


def _fault(points: Floats, present: np.ndarray[Any, np.dtype[np.bool_]]) -> str | None:
    """Why labels in crop units are not worth training on, or None."""
    if present.mean() < LEAST_PRESENT:
        return f"face found, and no fade, in {present.mean():.0%} of the frames"
    seen = points[present]
    tall = float(np.median(np.ptp(seen[..., 1], axis=1))) / 2
    if tall < LEAST_FACE:
        return f"face height {tall:.2f} of the crop"
    if FACE_SHAPE.exists():
        pose = decompose(seen)
        if float(np.median(pose.residual)) > MOST_RESIDUAL:
            return f"landmarks do not fit a face ({float(np.median(pose.residual)):.2f})"
    steps = np.linalg.norm(np.diff(points[:, :, :2].mean(1), axis=0), axis=-1)[present[1:] & present[:-1]]
    if len(steps) and steps.max() > 0.35:
        return "the face jumps: a cut or another face"
    return None


@dataclass(frozen=True)
class _Job:
    source: Source
    out: Path
    size: int
    every: int | None


_teacher: Teacher | None = None


def _run(job: _Job) -> tuple[str, list[dict[str, Any]]]:
    global _teacher
    if _teacher is None:
        _teacher = Teacher()
    try:
        if job.source.kind == "still":
            records = prepare_still(job.source, job.out, _teacher, job.size)
        else:
            records = prepare_clip(job.source, job.out, _teacher, job.size, job.every)
    except InputError as error:
        records = [_record(job.source, job.source.path.stem, 0, 0.0, None, str(error))]
    return job.source.path.name, records


def prepare_all(
    sources: Iterable[Source], out: Path, size: int = 256, every: int | None = None, jobs: int = 2
) -> list[dict[str, Any]]:
    """Prepare clips or stills in parallel, skipping those that have a record already; returns the records of all."""
    (out / "records").mkdir(parents=True, exist_ok=True)
    sources = list(sources)
    todo = [_Job(s, out, size, every) for s in sources if not _record_path(out, s.path.name).exists()]
    if todo:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            for name, records in tqdm(pool.imap_unordered(_run, todo), total=len(todo), unit="file", desc="prepare"):
                write_json(_record_path(out, name), records)
    return [r for s in sources for r in json.loads(_record_path(out, s.path.name).read_text())]


def _record_path(out: Path, name: str) -> Path:
    return out / "records" / f"{name}.json"


def write_json(path: Path, value: object) -> None:
    """Write JSON in one step, so that no reader sees half a file."""
    with complete_file(path) as partial:
        partial.write_text(json.dumps(value, indent=1))


def write_manifest(out: Path, records: list[dict[str, Any]]) -> tuple[int, int]:
    """Write manifest.json and dropped.json; returns how many are kept and dropped."""
    kept = [{k: v for k, v in r.items() if k != "dropped"} for r in records if r["dropped"] is None]
    dropped = [r for r in records if r["dropped"] is not None]
    write_json(out / "manifest.json", kept)
    write_json(out / "dropped.json", dropped)
    return len(kept), len(dropped)


def fit_shape(out: Path, records: list[dict[str, Any]], frames_per_person: int = 200) -> None:
    """Make the mean face `face_shape.npz` of the prepared clips and write every clip's pose against it."""
    people: dict[str, list[Floats]] = {}
    kept = [r for r in records if r["dropped"] is None]
    for record in kept:
        with np.load(out / f"{record['name']}.npz") as data:
            points, present = data["points"].astype(np.float32), data["present"]
        people.setdefault(record["person"], []).append(points[present][:: max(1, len(points) // 40)])
    shape = fit_face_shape([np.concatenate(p)[:frames_per_person] for p in people.values()])
    with complete_file(FACE_SHAPE) as partial, partial.open("wb") as file:
        np.savez(file, points=shape)
    for record in kept:
        path = out / f"{record['name']}.npz"
        with np.load(path) as data:
            points, present = data["points"].astype(np.float32), data["present"]
        write_labels(path, points, present)


def contact_sheet(path: Path, out: Path, records: list[dict[str, Any]], tile: int = 128) -> None:
    """A picture to look at: the middle frame of each prepared clip with some landmarks, its number and its angles."""
    kept = [r for r in records if r["dropped"] is None]
    if not kept:
        return
    columns = 16
    sheet = Image.new("RGB", (columns * tile, -(-len(kept) // columns) * tile))
    for i, record in enumerate(tqdm(kept, unit="clip", desc="contact sheet")):
        middle = record["frames"] // 2
        image = Image.fromarray(frame_at(out / f"{record['name']}.mp4", middle)).resize((tile, tile))
        with np.load(out / f"{record['name']}.npz") as data:
            points, pose = data["points"][middle].astype(np.float32), data["pose"][middle]
        draw = ImageDraw.Draw(image)
        draw.point([tuple(p) for p in ((points[::4, :2] + 1) * tile / 2).tolist()], fill=(0, 255, 0))
        draw.text((2, tile - 12), f"{i} {pose[0]:.0f} {pose[1]:.0f} {pose[2]:.0f}", fill=(255, 255, 0))
        sheet.paste(image, (i % columns * tile, i // columns * tile))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def frame_at(path: Path, index: int) -> Frames:
    """Frame `index` of a prepared clip, uint8 (S, S, 3)."""
    seen = 0
    for part, _ in read_clip(path, every=1):
        if index < seen + len(part):
            return np.asarray(part[index - seen])
        seen += len(part)
    raise InputError(f"{path}: no frame {index}")
