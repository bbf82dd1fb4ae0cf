"""A recorded call to a film: one participant, or all side by side, with the sound of all who are in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.clip.call_pictures import CallFrame, FaceTile, FilmTile, call_frames
from model.clip.call_sound import LONGEST, Piece, film_sound, mixed, packets_sound
from model.clip.decoder import Decoded, ProgressCount, check_model, published
from model.clip.recorded_room import RecordedFile
from model.clip.size import rendered_side, scaled
from model.codec.packet import MotionMessage
from model.codec.vav import AUDIO_RATE, Vav, read_vav
from model.errors import BitstreamError, InputError
from model.media.atomic_file import check_place
from model.media.content_credentials import SigningFiles, check_signing
from model.media.face_mark import marked
from model.media.provenance import Provenance
from model.media.video import VideoWriter, check_video_name, encode_opus
from model.motion import Motion, View
from model.talking_head import TalkingHead
from model.temporal_filter import FrameTime

RATE = Fraction(25)
"""Pictures a second of the film."""

MAX_TILES = 64

_EMPTY = 24
"""Grey level of a tile before its first picture, and once its participant has left."""

_GONE = Fraction(1)
"""Seconds for which the last picture of a file stays."""


@dataclass(frozen=True)
class _Take:
    """One file and where it stands in the film."""

    file: RecordedFile
    tile: int
    vav: Vav | None  # None: a camera's film


def decode_call(
    head: TalkingHead,
    files: Sequence[RecordedFile],
    out: Path,
    view: View,
    progress: ProgressCount | None = None,
    size: int | None = None,
    *,
    mark: bool = True,
    signing: SigningFiles | None = None,
) -> Decoded:
    """Render files of one recorded call to a film, seen from `view`, each participant in a tile of `size` pixels.

    mark: draw into every rendered face that it is. The file's metadata says so in any case.
    signing: whose signature the film gets (C2PA); None: nobody's.

    Files, out and signing are as `check_call` allows them. The film begins with the recording; that of one file alone
    with its first picture.
    Raises InputError, BitstreamError, or WeightsError when a file needs other weights.
    """
    side = head.profile.size if size is None else size
    rendered = rendered_side(head.profile.sizes, side)
    people = list(dict.fromkeys(file.participant for file in files))
    takes = [
        _Take(file, people.index(file.participant), read_vav(file.path) if file.is_motion else None) for file in files
    ]
    for take in takes:
        if take.vav is not None:
            check_model(head, take.vav.header, take.file.path)
            check_times(take.vav, take.file.path)
    shift = Fraction(0) if len(takes) > 1 else -_beginning(head, takes[0])
    columns = math.ceil(math.sqrt(len(people)))
    rows = math.ceil(len(people) / columns)
    film = np.full((rows * side, columns * side, 3), _EMPTY, np.uint8)
    faces = [
        (take.tile, FaceTile(head, take.vav, take.file.path, shift))
        for take in takes
        if take.vav is not None and take.vav.messages
    ]
    cameras = [
        (take.tile, FilmTile(take.file.path, shift + Fraction(take.file.offset), side))
        for take in takes
        if take.vav is None
    ]
    playing: list[tuple[int, FaceTile | FilmTile]] = [*faces, *cameras]
    sound = mixed([_sound(take, round(shift * AUDIO_RATE)) for take in takes])
    count = 0
    provenance = Provenance(head.profile.name, head.weights_hash, False, True)
    with (
        published(out, provenance, signing) as part,
        VideoWriter(part, (columns * side, rows * side), RATE, audio_channels=1, tags=provenance.tags()) as writer,
    ):
        packets = encode_opus(sound, 1)
        waiting = next(packets, None)
        shown: dict[int, Fraction] = {}  # when each tile was painted last
        total = round(max((float(shift) + _seconds(take) for take in takes), default=0.0) * RATE)
        while count < LONGEST * RATE and (waiting is not None or not all(tile.ended for _, tile in playing)):
            time = count / RATE
            due = [(at, tile, frame) for at, tile in faces if (frame := tile.due(time)) is not None]
            painted = [(at, scaled(picture, side)) for at, picture in _rendered(head, due, view, time, rendered)]
            if mark:
                painted = [(at, marked(picture, "rendered")) for at, picture in painted]
            painted += [(at, scaled(picture, side)) for at, tile in cameras if (picture := tile.due(time)) is not None]
            for at, picture in painted:
                _paint(film, at, columns, picture)
                shown[at] = time
            live = {at for at, tile in playing if not tile.ended}
            for at in [at for at, when in shown.items() if at not in live and time - when >= _GONE]:
                _paint(film, at, columns, np.full((side, side, 3), _EMPTY, np.uint8))
                del shown[at]
            writer.frame(film, time)
            count += 1
            while waiting is not None and waiting.start < count / RATE * AUDIO_RATE:
                writer.sound(waiting.start, waiting.duration, waiting.data)
                waiting = next(packets, None)
            if progress is not None:
                progress(1, max(total, count))
    return Decoded(count, float(count / RATE), all(take.vav is None or take.vav.complete for take in takes))


def check_call(files: Sequence[RecordedFile], out: Path, signing: SigningFiles | None = None) -> None:
    """Whether `decode_call` has its places and can sign, which needs no model. Raises InputError."""
    people = {file.participant for file in files}
    if not files:
        raise InputError("the recording holds no files")
    if len(people) > MAX_TILES:
        raise InputError(f"{len(people)} people do not fit beside each other; at most {MAX_TILES} do: name one")
    check_video_name(out)
    check_place(out)
    if signing is not None:
        check_signing(signing, out)


def single(path: Path) -> RecordedFile:
    """A `.vav` file of a recorded call that stands alone."""
    return RecordedFile(path, path.stem, path.stem, 0.0)


def _rendered(
    head: TalkingHead, due: Sequence[tuple[int, FaceTile, CallFrame]], view: View, time: Fraction, side: int
) -> list[tuple[int, NDArray[np.uint8]]]:
    if not due:
        return []
    motion = Motion.from_vector(np.stack([frame.vector for _, _, frame in due]))
    states = [tile.state(frame) for _, tile, frame in due]
    times = [FrameTime(tile.filter, float(time)) for _, tile, _ in due]
    pictures = head.render(states, motion.to_torch(), [view] * len(due), times, side)
    return [(at, picture) for (at, _, _), picture in zip(due, pictures.permute(0, 2, 3, 1).cpu().numpy(), strict=True)]


def _paint(film: NDArray[np.uint8], tile: int, columns: int, picture: NDArray[np.uint8]) -> None:
    side = picture.shape[0]
    top, left = tile // columns * side, tile % columns * side
    film[top : top + side, left : left + side] = picture


def check_times(vav: Vav, path: Path) -> None:
    """Raise BitstreamError for motion or sound that lies a day or more after the recording's start."""
    ends = [packet.start / AUDIO_RATE for packet in vav.audio]
    for message in vav.messages:
        if message.clock is not None:
            capture_ms = MotionMessage.parse(message.data).capture_ms
            ends.append((message.clock.at_ms if capture_ms is None else message.clock.at(capture_ms)) / 1000)
    if max(ends, default=0.0) >= LONGEST:
        raise BitstreamError(f"{path}: it would last more than {LONGEST // 3600} hours")


def _beginning(head: TalkingHead, take: _Take) -> Fraction:
    """Seconds after the recording's start at which a file has its first picture, or its first sound."""
    if take.vav is None:
        return Fraction(take.file.offset)
    first = next(call_frames(head.statistics, take.vav, take.file.path), None)
    if first is not None:
        return Fraction(first.ms, 1000)
    return Fraction(take.vav.audio[0].start, AUDIO_RATE) if take.vav.audio else Fraction(0)


def _seconds(take: _Take) -> float:
    return take.file.offset if take.vav is None else take.vav.seconds


def _sound(take: _Take, shift: int) -> Iterator[Piece]:
    if take.vav is not None:
        return packets_sound(take.vav.audio, shift)
    return film_sound(take.file.path, shift + round(take.file.offset * AUDIO_RATE))
