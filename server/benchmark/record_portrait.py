"""Makes `portrait.vav`, the built-in talker: `python -m server.benchmark.record_portrait CLIP` (see PORTRAIT.md).

A clip's head motion is extracted with the weights in use, transferred onto a public-domain portrait, closed to a loop
and given a synthesised voice. Nothing of the clip's pictures or sound goes into the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.codec.source_image import encode_source
from model.codec.vav import AudioPacket, VavHeader, VavWriter
from model.errors import InputError, VisavisError
from model.face.crop import Crop
from model.face.finder import HeadFinder, clip_crop, still_crop
from model.media.atomic_file import complete_file
from model.media.video import OPUS_PRE_SKIP, upright
from model.motion import CanonicalKeypoints, Motion, interpolate, transfer
from model.registration.similarity import thumbnail
from model.registration.tracker import track
from model.source.expression import eye_openness, mouth_opening
from model.talking_head import TalkingHead
from server.benchmark.portrait import portrait_picture
from server.benchmark.speech import speak
from server.sender.media.extractor import ModelExtractor
from server.sender.media.inputs import PORTRAIT, open_file
from server.sender.media.sound import PACKET_SAMPLES, RATE, OpusWriter

FPS = 25
LOOP_SECONDS = 0.8
"""The end glides into the beginning over this time."""

ROOM = 1.15
"""Side of the portrait's crop in sides of the usual one: this portrait's hair fills that to the rim."""

SOURCE_QUALITY = 85
MOTION = Rate(step_index=-4, frames_per_message=10, header_bytes=0)


def close_loop(vectors: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Let the last `frames` of motion vectors (T, 139 + 3K) glide into the first one: a repetition shows no jump.

    Raises ValueError when there are not more frames than that.
    """
    if not 0 < frames < len(vectors):
        raise ValueError("the glide must be shorter than the recording")
    closed = vectors.copy()
    start = Motion.from_vector(vectors[0])
    for i in range(frames):
        share = (i + 1) / (frames + 1)
        smooth = share * share * (3.0 - 2.0 * share)  # no kink at either end
        place = len(vectors) - frames + i
        closed[place] = interpolate(Motion.from_vector(vectors[place]), start, smooth).to_vector()
    return closed


def calm_frame(motions: Motion, canonical: CanonicalKeypoints) -> int:
    """Index of the frame of `motions` (T,) that looks most like a passport photo: frontal, mouth shut, eyes open."""
    turned = np.abs(motions.yaw) + np.abs(motions.pitch) + 0.5 * np.abs(motions.roll)
    eyes, mouth = eye_openness(canonical, motions), mouth_opening(canonical, motions)
    # A third of the usual opening of the eyes, or of the mouth, weighs as much as ten degrees.
    cost = turned + 30.0 * mouth / max(float(np.median(mouth)), 1e-3) - 30.0 * eyes / max(float(np.median(eyes)), 1e-3)
    return int(np.argmin(cost))


def onto_portrait(motions: Motion, driver: CanonicalKeypoints, still: Motion) -> NDArray[np.float32]:
    """Motion vectors (T, 139 + 3K) that move the portrait, at rest in `still`, as the driver moves: `motions` (T,).

    The driver's usual pose becomes the portrait's own, so that the picture is turned no further than needed; the
    expression is relative to the driver's calmest frame.
    """
    usual = Motion(*(np.median(field, 0) for field in vars(motions).values()))
    reference = replace(usual, expression=motions[calm_frame(motions, driver)].expression)
    turned = replace(
        motions,
        yaw=motions.yaw - usual.yaw + still.yaw,
        pitch=motions.pitch - usual.pitch + still.pitch,
        roll=motions.roll - usual.roll + still.roll,
    )
    return np.stack([transfer(turned[i], reference, still).to_vector() for i in range(len(motions))])


def roomier(crop: Crop, height: int) -> Crop:
    """The crop with more room above the portrait's hair, within the picture's `height` as far as it goes."""
    side = ROOM * crop.side
    return Crop(crop.x, float(np.clip(crop.y - 0.04 * side, side / 2, max(side / 2, height - side / 2))), side)


def record(clip: Path, out: Path, start: float, seconds: float, model: TalkingHead) -> None:
    """Write the recording. Raises InputError and FaceError for a clip that does not serve."""
    extractor = ModelExtractor(model)
    finder = HeadFinder()
    frames = list(_frames(clip, start, seconds))
    if len(frames) < 2 * LOOP_SECONDS * FPS:
        raise InputError(f"{clip} holds {len(frames) / FPS:.1f} s from there on: too little for a loop")
    crop = clip_crop(frames, finder)
    crops, seen = zip(*(extractor.extract(frame, crop) for frame in tqdm(frames, "motion")), strict=True)
    driver, extracted = extractor.canonical, Motion.stack(seen)
    motions = track(
        np.stack([thumbnail(one) for one in crops]), extracted, calm_frame(extracted, driver), extractor.layout
    )

    picture = portrait_picture()
    portrait = roomier(still_crop(picture, finder), picture.shape[0])
    image = portrait.cut(picture, extractor.size)
    enrolled = extractor.enrol(image)
    canonical, still = enrolled.canonical, enrolled.motion
    closed = close_loop(onto_portrait(motions, driver, still), round(LOOP_SECONDS * FPS))
    voice = speak(mouth_opening(canonical, Motion.from_vector(closed)), float(FPS))

    header = VavHeader(
        profile=model.profile.name,
        keypoints=model.profile.keypoints,
        size=model.profile.size,
        weights=bytes.fromhex(model.weights_hash),
        rate=Fraction(FPS),
        frame_width=picture.shape[1],
        frame_height=picture.shape[0],
        crop_x=portrait.x,
        crop_y=portrait.y,
        crop_side=portrait.side,
        audio_channels=1,
        audio_pre_skip=OPUS_PRE_SKIP,
    )
    with complete_file(out) as path, VavWriter(path, header) as writer:
        writer.source(0, encode_source(image, SOURCE_QUALITY))
        encoder = MotionEncoder(model.statistics, MOTION, chain=True, epoch=0)
        for i, vector in enumerate(closed):
            message = encoder.encode(vector, round(1000 * i / FPS), 0)
            if message is not None:
                writer.motion(message)
        rest = encoder.flush()
        if rest is not None:
            writer.motion(rest)
        for first in range(0, len(packets := _opus(voice)), 50):
            writer.audio(packets[first : first + 50])
        writer.end(len(closed), round(1000 * len(closed) / FPS))


def _frames(clip: Path, start: float, seconds: float) -> Iterator[NDArray[np.uint8]]:
    """Frames (H, W, 3) of the clip, thinned or repeated to `FPS`."""
    due = start
    with open_file(str(clip)) as container:
        for frame in container.decode(video=0):
            assert isinstance(frame, av.VideoFrame)
            while frame.time is not None and due <= frame.time < start + seconds:
                yield upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame.rotation)
                due += 1 / FPS


def _opus(voice: NDArray[np.float32]) -> list[AudioPacket]:
    """Sound (N,) in [-1, 1] at 48 kHz as Opus packets; the last one is filled with silence."""
    samples = np.round(voice * 32767).astype(np.int16)
    samples = np.concatenate([samples, np.zeros(-len(samples) % PACKET_SAMPLES, np.int16)])
    writer = OpusWriter()
    coded = [data for piece in samples.reshape(-1, PACKET_SAMPLES) for data in writer.write(piece)]
    return [AudioPacket(i * PACKET_SAMPLES - OPUS_PRE_SKIP, PACKET_SAMPLES, data) for i, data in enumerate(coded)]


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit status 2 and one line for a clip that does not serve."""
    parser = argparse.ArgumentParser(prog="python -m server.benchmark.record_portrait", description=__doc__)
    parser.add_argument("clip", type=Path, help="a person talking, alone and mostly frontal")
    parser.add_argument("--start", type=float, default=0.0, help="second of the clip to begin at (%(default)s)")
    parser.add_argument("--seconds", type=float, default=12.0, help="length (%(default)s)")
    parser.add_argument("--weights", type=Path, help="weights file (the embedded small ones)")
    parser.add_argument("--random-weights", action="store_true", help="untrained model, for tests of the way itself")
    parser.add_argument("--out", type=Path, default=PORTRAIT, help="(%(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        model = TalkingHead.random() if options.random_weights else TalkingHead.load(options.weights)
        record(options.clip, options.out, options.start, options.seconds, model)
    except VisavisError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_status
    print(f"{options.out.name}: {options.out.stat().st_size} bytes, {RATE // 1000} kHz voice, {FPS} fps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
