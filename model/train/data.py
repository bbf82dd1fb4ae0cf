"""Prepared clips as training batches: uint8 frames kept on the device, people balanced, labels from the teacher.

    prepared/manifest.json   what there is, with licences
    prepared/NAME.mp4        frames of one crop
    prepared/NAME.npz        teacher landmarks

A batch is G groups of one source and N driving frames of a clip, all under one random crop, mirror and colour.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from model.arrays import Floats
from model.errors import InputError
from model.media.atomic_file import complete_file
from model.motion import Motion, background_since, rotation_matrix, turned_and_sized
from model.networks.grid import pixel_grid
from model.networks.small_config import EYES, GUIDED, MIRROR, MOUTH
from model.teacher.decompose import decompose, face_shape, mirror_pairs
from model.train import surroundings

_TILT = 5.0  # degrees, one sigma, of the random tilt of a group's pictures

STILL_SHARE = 0.3
"""Share of groups drawn from photos moved by their own landmarks: more faces, but no real motion."""


@dataclass(frozen=True)
class Clip:
    """One prepared shot; frames `start` to `start + len(indices)` of the frame store are the labelled ones."""

    name: str
    person: str
    kind: str  # "clip" or "still" (a photo moved by its own landmarks)
    frame_rate: float  # frames a second
    rows: NDArray[np.int64]  # (T,) rows of the frame store with a face
    mesh: NDArray[np.float16]  # (T, 478, 3) all landmarks, crop units, t_z taken off
    points: Floats  # (T, J, 3) the guided ones
    pose: Floats  # (T, 6) yaw, pitch, roll, scale, t_x, t_y
    canonical: Floats  # (J, 3) median over the clip of the landmarks with pose and size taken off


@dataclass(frozen=True)
class Batch:
    """G groups of 1 + N frames. Index 0 of the second dimension is the source."""

    frames: Tensor  # (G, 1 + N, 3, S, S) float in [0, 1]
    motion: Motion  # batch shape (G, 1 + N); expression of the guided keypoints (G, 1 + N, J, 3)
    canonical: Tensor  # (G, J, 3)
    points: Tensor  # (G, 1 + N, J, 3) guided keypoints in crop units
    mesh: Tensor  # (G, 1 + N, 478, 3) all landmarks in crop units
    filmed: Tensor  # (G,) whether these are frames of a film, not a photo moved by its landmarks
    body: Tensor  # (G, 1 + N, 4) where the body lies since the source; not a number where that is unknown
    inside: Tensor  # (G, S, S) where the pictures are, and not the reflection beyond their edge that a crop can bring
    paired: bool = False  # whether each two driving frames are neighbours in time
    flow: tuple[Tensor, Tensor] | None = None
    """Optical flow of driving frames: source coordinates (G * N, S, S, 2), and (G * N, S, S) where to trust them."""


class ClipSet:
    """All prepared clips of a folder."""

    def __init__(
        self, folder: Path, device: torch.device, licence: str | None = None, limit: int | None = None
    ) -> None:
        """Decode every clip; the frame store is a memory-mapped cache beside the data, made once.

        licence   "open" keeps clips of the open class only
        Raises InputError when the folder holds no prepared clip.
        """
        manifest = folder / "manifest.json"
        if not manifest.exists():
            raise InputError(f"{folder} holds no manifest.json; make one with `python -m model prepare`")
        entries = json.loads(manifest.read_text())
        if licence:
            entries = [e for e in entries if e["licence_class"] == licence]
        entries = entries[:limit]
        if not entries:
            raise InputError(f"no clip to train on in {folder}")
        self.frames = _frame_store(folder, entries, device)
        self.device = device
        self.clips = _labels(folder, entries)
        self.people: dict[str, list[int]] = {}
        for index, clip in enumerate(self.clips):
            self.people.setdefault(clip.person, []).append(index)
        stills = {clip.person for clip in self.clips if clip.kind == "still"}
        self.photographed = sorted(stills)
        self.names = sorted(set(self.people) - stills) or self.photographed
        self._folder = folder

    @cached_property
    def surroundings(self) -> dict[str, surroundings.Surroundings]:
        """Where background and body of each film lie, by name; measured once and kept beside the data.

        Needs OpenCV, a training dependency.
        """
        path = self._folder / "surroundings.npz"
        known = surroundings.read(path)
        filmed = [clip for clip in self.clips if clip.kind != "still"]
        missing = [clip for clip in filmed if clip.name not in known]
        for clip in tqdm(missing, desc="following backgrounds and bodies", unit="clip", disable=None):
            frames = self.frames[torch.from_numpy(clip.rows)].cpu().numpy()
            rng = np.random.default_rng(0)
            known[clip.name] = surroundings.measure(frames, clip.mesh[..., :2].astype(np.float32), clip.pose, rng)
        if missing:
            surroundings.write(path, known)
        return known

    @cached_property
    def understood(self) -> dict[str, list[int]]:
        """Clips of each filmed person whose background stands still or moves as is known; all clips where none does.

        Needs OpenCV, a training dependency.
        """
        chosen = {
            person: [
                i for i in members if self.clips[i].kind != "still" and self.surroundings[self.clips[i].name].known
            ]
            for person, members in self.people.items()
        }
        return {person: members for person, members in chosen.items() if members} or {
            person: self.people[person] for person in self.names
        }

    def pose_mean(self) -> Tensor:
        """(6,) mean of yaw, pitch, roll (in 30 degrees), log scale, t_x, t_y: where the extractor starts."""
        pose = np.concatenate([c.pose for c in self.clips])
        rows = np.concatenate([pose[:, :3] / 30, np.log(pose[:, 3:4]), pose[:, 4:6]], 1)
        return torch.from_numpy(rows.mean(0).astype(np.float32))

    def canonical_mean(self) -> Tensor:
        """(J, 3) mean canonical keypoints over people."""
        means = [np.mean([self.clips[i].canonical for i in members], 0) for members in self.people.values()]
        return torch.from_numpy(np.mean(means, 0).astype(np.float32))

    def batches(
        self,
        groups: int,
        driving: int,
        seed: int,
        augment: bool = True,
        stills: float = STILL_SHARE,
        understood: bool = False,
        paired: bool = False,
    ) -> Iterator[Batch]:
        """Endless random batches, the same for the same seed; `stills` is the share of moved photos in them.

        understood: of films those alone whose background stands still or moves as is known; only then the motion says
        how.
        paired: driving frames, an even number, are pairs of neighbours in time.
        """
        rng = np.random.default_rng(seed)
        while True:
            yield self._batch(rng, groups, driving, augment, stills, understood, paired)

    def _draw(self, rng: np.random.Generator, stills: float, understood: bool) -> Clip:
        """A clip: moved photos with a fixed share, then people evenly, however many clips each has."""
        photo = bool(self.photographed) and (stills > 0 or not understood) and rng.random() < stills
        clips = self.understood if understood and not photo else self.people
        names = self.photographed if photo else sorted(clips) if understood else self.names
        person = names[rng.integers(len(names))]
        return self.clips[int(rng.choice(clips[person]))]

    def _batch(
        self,
        rng: np.random.Generator,
        groups: int,
        driving: int,
        augment: bool,
        stills: float,
        understood: bool,
        paired: bool,
    ) -> Batch:
        rows, motions, canonicals, points, meshes, filmed, places = [], [], [], [], [], [], []
        for _ in range(groups):
            clip = self._draw(rng, stills, understood)
            chosen = _choose(rng, clip, driving, paired)
            rows.append(clip.rows[chosen])
            canonicals.append(clip.canonical)
            points.append(clip.points[chosen])
            meshes.append(clip.mesh[chosen].astype(np.float32))
            motions.append(clip.pose[chosen])
            filmed.append(clip.kind != "still")
            known = understood and clip.kind != "still"
            places.append(self._places(clip, chosen) if known else _unknown(len(chosen)))
        index = torch.from_numpy(np.stack(rows)).to(self.frames.device)
        frames = self.frames[index].to(self.device).permute(0, 1, 4, 2, 3).float() / 255  # (G, 1 + N, 3, S, S)
        pose = torch.from_numpy(np.stack(motions)).to(self.device)
        point = torch.from_numpy(np.stack(points)).to(self.device)
        canonical = torch.from_numpy(np.stack(canonicals)).to(self.device)
        mesh = torch.from_numpy(np.stack(meshes)).to(self.device)
        place = torch.from_numpy(np.stack(places)).to(self.device)
        inside = torch.ones_like(frames[:, 0, 0], dtype=torch.bool)
        if augment:
            frames, pose, point, canonical, mesh, place, inside = _augment(
                rng, frames, pose, point, canonical, mesh, place
            )
        films = torch.tensor(filmed, device=self.device)
        motion = _motion(pose, point, canonical, place[:, :, 0])
        return Batch(frames, motion, canonical, point, mesh, films, place[:, :, 1], inside, paired)

    def _places(self, clip: Clip, chosen: NDArray[np.int64]) -> Floats:
        """(1 + N, 2, 4) where background and body lie since the first of the chosen frames."""
        known = self.surroundings[clip.name]
        places = np.stack([known.places[chosen], known.bodies[chosen]], 1)
        since: Floats = background_since(places, places[:1])
        return since


def _unknown(count: int) -> Floats:
    """As `_places`, where only the background is taken to stand still."""
    return np.stack([np.zeros((count, 4), np.float32), np.full((count, 4), np.nan, np.float32)], 1)


def _motion(pose: Tensor, points: Tensor, canonical: Tensor, background: Tensor) -> Motion:
    """The teacher's motion: expression is what pose and canonical keypoints leave over, delta = (x - t) / s - R x_c."""
    yaw, pitch, roll, scale = pose[..., 0], pose[..., 1], pose[..., 2], pose[..., 3]
    translation = torch.cat([pose[..., 4:6], torch.zeros_like(pose[..., :1])], -1)
    rotated = canonical[:, None] @ rotation_matrix(yaw, pitch, roll).mT
    expression = (points - translation[..., None, :]) / scale[..., None, None] - rotated
    return Motion(yaw, pitch, roll, translation, scale, expression, background)


def _choose(rng: np.random.Generator, clip: Clip, driving: int, paired: bool) -> NDArray[np.int64]:
    """A source and driving frames; half of the time the furthest of a few, so that there is motion to learn."""
    if paired:
        first = _choose(rng, clip, driving // 2, False)
        after = np.where(first[1:] + 1 < len(clip.rows), first[1:] + 1, first[1:] - 1)
        return np.concatenate([first[:1], np.stack([first[1:], after], 1).reshape(-1)])
    count = len(clip.rows)
    source = rng.integers(count)
    candidates = rng.integers(count, size=(driving, 4 if rng.random() < 0.5 else 1))
    distance = np.abs(clip.points[candidates] - clip.points[source]).mean((-1, -2))  # (N, candidates)
    best = candidates[np.arange(driving), distance.argmax(1)]
    return np.concatenate([[source], best])


def _augment(
    rng: np.random.Generator,
    frames: Tensor,
    pose: Tensor,
    points: Tensor,
    canonical: Tensor,
    mesh: Tensor,
    places: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One mirror, tilt, crop and colour change per group, the same for its source and its driving frames."""
    groups, size = frames.shape[0], frames.shape[-1]
    device = frames.device
    mirrored = torch.from_numpy(rng.random(groups) < 0.5).to(device)
    flip = torch.tensor([-1.0, 1.0, 1.0], device=device)
    order = torch.tensor(MIRROR, device=device)
    sign = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0], device=device)
    m = mirrored[:, None, None]
    pose = torch.where(m, pose * sign, pose)
    points = torch.where(m[..., None], points[:, :, order] * flip, points)
    partners = torch.from_numpy(mirror_pairs(face_shape())).to(device)
    mesh = torch.where(m[..., None], mesh[:, :, partners] * flip, mesh)
    canonical = torch.where(m, canonical[:, order] * flip, canonical)
    places = torch.where(m[..., None], places * torch.tensor([-1.0, 1.0, 1.0, -1.0], device=device), places)

    zoom = torch.from_numpy(np.exp(rng.uniform(-0.2, 0.15, groups)).astype(np.float32)).to(device)
    shift = torch.from_numpy(rng.uniform(-0.1, 0.1, (groups, 2)).astype(np.float32)).to(device)
    tilt = torch.from_numpy(rng.normal(0.0, _TILT, groups).astype(np.float32)).to(device)
    none = torch.zeros_like(tilt)
    turn = rotation_matrix(none, none, tilt)  # (G, 3, 3), Z alone
    grid = pixel_grid(size, size, shift)
    # p' = zoom Z p + shift in the new picture, so a new pixel reads the old one at Z^T (p' - shift) / zoom.
    reads = (grid - shift[:, None, None]) / zoom[:, None, None, None] @ turn[:, None, :2, :2]
    reads = torch.cat([torch.where(mirrored[:, None, None, None], -reads[..., :1], reads[..., :1]), reads[..., 1:]], -1)
    inside = (reads.abs() <= 1).all(-1)  # (G, S, S)
    flat = frames.flatten(1, 2)  # (G, 3 (1 + N), S, S)
    frames = F.grid_sample(flat, reads, padding_mode="reflection", align_corners=False)
    frames = frames.reshape(groups, -1, 3, size, size)
    zeros = torch.zeros_like(shift[:, :1])
    points, mesh = (
        x @ turn.mT[:, None] * zoom[:, None, None, None] + torch.cat([shift, zeros], 1)[:, None, None]
        for x in (points, mesh)
    )
    pose = torch.cat(
        [
            pose[..., :2],
            pose[..., 2:3] + tilt[:, None, None],  # Z(tilt) Z(roll) = Z(tilt + roll)
            pose[..., 3:4] * zoom[:, None, None],
            pose[..., 4:6] @ turn.mT[:, :2, :2] * zoom[:, None, None] + shift[:, None],
        ],
        -1,
    )

    # With p' = T p a place M becomes T M T^-1: size and roll stay, the shift is what T's middle gets.
    centre = shift[:, None, None]  # (G, 1, 1, 2)
    x, y = centre.expand(*places.shape[:3], -1).unbind(-1)
    middle = torch.stack(turned_and_sized(x, y, places[..., 2], places[..., 3]), -1)
    moved = places[..., :2] @ turn.mT[:, None, :2, :2] * zoom[:, None, None, None] + centre - middle
    places = torch.cat([moved, places[..., 2:]], -1)

    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (groups, 1, 3, 1, 1)).astype(np.float32)).to(device)
    gain = gain * 0.5 + 0.5 * gain.mean(2, keepdim=True)  # mostly brightness, a little colour cast
    contrast = torch.from_numpy(rng.uniform(0.8, 1.2, (groups, 1, 1, 1, 1)).astype(np.float32)).to(device)
    saturation = torch.from_numpy(rng.uniform(0.7, 1.2, (groups, 1, 1, 1, 1)).astype(np.float32)).to(device)
    grey = frames.mean(2, keepdim=True)
    frames = grey + (frames - grey) * saturation
    mean = frames.mean((1, 2, 3, 4), keepdim=True)
    frames = ((frames - mean) * contrast + mean) * gain
    return frames.clamp(0, 1), pose, points, canonical, mesh, places, inside


def attention_map(points: Tensor, size: int) -> Tensor:
    """(B, 1, size, size) in [0, 1]: 1 around eyes and mouth of guided keypoints (B, J, 3), 0 far from them."""
    grid = pixel_grid(size, size, points)
    chosen = points[:, list(EYES + MOUTH), :2]
    gap = ((grid[None, None] - chosen[:, :, None, None]) ** 2).sum(-1)  # (B, P, size, size)
    return torch.exp(-gap.amin(1, keepdim=True) / (2 * 0.06**2))


def _labels(folder: Path, entries: list[dict[str, object]]) -> list[Clip]:
    clips = []
    start = 0
    for entry in entries:
        with np.load(folder / f"{entry['name']}.npz") as data:
            all_points, present = data["points"].astype(np.float32), data["present"]
        keep = np.flatnonzero(present & np.isfinite(all_points).all((1, 2)))
        rows = start + keep
        start += len(present)
        if len(keep) < 2:
            continue
        pose = decompose(all_points[keep])
        mesh = all_points[keep]
        mesh[..., 2] -= pose.translation[:, None, 2]
        points = mesh[:, list(GUIDED)]
        t = pose.translation.copy()
        t[:, 2] = 0
        rotation = rotation_matrix(pose.yaw, pose.pitch, pose.roll)
        relative = (points - t[:, None]) / pose.scale[:, None, None]
        canonical = np.median(relative @ rotation, 0)  # R^T x for each row vector
        clips.append(
            Clip(
                name=str(entry["name"]),
                person=str(entry["person"]),
                kind=str(entry.get("kind", "clip")),
                frame_rate=float(str(entry["fps"])),
                rows=rows.astype(np.int64),
                mesh=mesh.astype(np.float16),
                points=points.astype(np.float32),
                pose=pose.to_array(),
                canonical=canonical.astype(np.float32),
            )
        )
    return clips


def _frame_store(folder: Path, entries: list[dict[str, object]], device: torch.device) -> Tensor:
    """uint8 (frames, S, S, 3) of all clips; on a GPU it is copied there once, on a CPU it stays memory-mapped."""
    ends = np.cumsum([int(str(e["frames"])) for e in entries])
    total = int(ends[-1])
    with av.open(str(folder / f"{entries[0]['name']}.mp4")) as container:
        size = container.streams.video[0].width
    listing = json.dumps([(e["name"], e["frames"]) for e in entries])
    path = folder / f"frames-{hashlib.sha256(listing.encode()).hexdigest()[:12]}.u8"
    shape = (total, size, size, 3)
    if not path.exists() or path.stat().st_size != total * size * size * 3:
        with complete_file(path) as partial:
            store = np.memmap(partial, np.uint8, "w+", shape=shape)

            def decode(entry: dict[str, object], end: int) -> None:
                row = end - int(str(entry["frames"]))
                with av.open(str(folder / f"{entry['name']}.mp4")) as container:
                    for frame in container.decode(video=0):
                        if row < end:
                            store[row] = frame.to_ndarray(format="rgb24")
                        row += 1
                if row != end:
                    said = f"{entry['name']} holds {row - end:+d} frames beyond what its manifest says"
                    raise InputError(f"{folder}: {said}; prepare it again")

            with ThreadPoolExecutor() as threads:
                list(tqdm(threads.map(decode, entries, ends), "decoding clips", len(entries), unit="clip"))
            store.flush()
    frames = torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=shape))
    return frames.to(device) if device.type == "cuda" else frames
