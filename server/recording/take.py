"""One participant in a recording: its media to one file after the other, a new one wherever what it sends changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path

from model.codec.opus_packet import packet_samples
from model.codec.vav import AUDIO_RATE, AudioPacket, VavHeader
from model.errors import BitstreamError
from server.media.media_packet import MediaPacket
from server.media.recorder import MotionModel
from server.media.rtp_payload import KeyframeStart, keyframe_start
from server.media.stream_clock import StreamClock
from server.recording.camera_file import SUFFIXES, CameraRecorder
from server.recording.manifest import RecordedFile
from server.recording.motion_file import MotionRecorder, RecordedSource

NEW_FILE_SECONDS = 1.0
"""Between the beginnings of two files of a participant; what would need one sooner is left out."""

PICTURES_WITHIN = 2.0
"""Seconds for which sound waits for a camera's first picture, before it gets a file without pictures."""

Begin = Callable[[str, str], RecordedFile]
"""Takes the kind and the suffix of a file that begins; gives its entry in the manifest."""


class Take:
    """A `server.media.recorder.MediaRecorder`. All methods belong to the event loop."""

    def __init__(
        self,
        executor: Executor,
        folder: Path,
        started: float,
        started_ms: int,
        begin: Begin,
        changed: Callable[[], None],
    ) -> None:
        """`started`: when the recording did, by the receiver's clock; `started_ms`: Unix time of that.

        `changed()`: an entry that `begin` gave is another than before.
        """
        self._executor = executor
        self._folder = folder
        self._started = started
        self._started_ms = started_ms
        self._begin = begin
        self._changed = changed
        self._model: MotionModel | None = None
        self._sources: dict[int, RecordedSource] = {}
        self._motion: MotionRecorder | None = None
        self._camera: CameraRecorder | None = None
        self._camera_entry: RecordedFile | None = None
        self._voice = StreamClock(AUDIO_RATE)
        self._closing: set[asyncio.Task[None]] = set()
        self._finished = 0  # bytes of files that are closed
        self._voice_since = float("inf")  # when sound came first where pictures were to be expected
        self._began = float("-inf")  # when the last file did, seconds
        self._closed = False

    @property
    def written(self) -> int:
        """Bytes on the disk."""
        return self._finished + sum(file.written for file in (self._motion, self._camera) if file is not None)

    # MediaRecorder

    def model(self, model: MotionModel) -> None:
        """What the motion that follows is for."""
        self._model = model

    def source(self, index: int, image: bytes, windows: Mapping[int, bytes]) -> None:
        """The source image of that index is this one from now on, with these windows beside it, by slot."""
        self._sources[index] = RecordedSource(image, windows)

    def motion(self, message: bytes, source: int, capture_ms: int, captured: float) -> bool:
        """A motion message; whether it can be decoded from what the file holds."""
        driven = self._sources.get(source)
        if self._closed or driven is None:
            return True
        file, at_ms = self._motion_file(captured), round((captured - self._started) * 1000)
        return file is None or file.motion(message, source, driven, capture_ms, at_ms)

    def sound(self, packet: MediaPacket, captured: float, *, alone: bool) -> None:
        """An Opus packet whose sound began about then."""
        if self._closed:
            return
        try:
            samples = packet_samples(packet.payload)
        except BitstreamError:
            return
        start = self._voice.at(packet.timestamp, captured - self._started)
        sound = AudioPacket(start, samples, packet.payload)
        if self._camera is not None and not alone:
            self._camera.sound(sound, start / AUDIO_RATE)
            return
        if self._motion is None and not alone:
            self._voice_since = min(self._voice_since, captured)
            if captured - self._voice_since < PICTURES_WITHIN:
                return
        if (file := self._motion_file(captured)) is not None:
            file.sound(sound)

    def picture(self, packet: MediaPacket, arrived: float, keyframe: bool) -> bool:
        """A packet of a camera's pictures; whether a keyframe is wanted."""
        if self._closed or packet.codec not in SUFFIXES:
            return False
        start = _start(packet) if keyframe else None
        camera = self._camera
        # WebM takes VP8 of any size as it comes; MP4 has one set of parameters.
        changed = camera is None or camera.codec != packet.codec
        if camera is not None and start is not None and packet.codec == "H264":
            changed |= camera.start != start
        if changed:
            if start is None or not self._may_begin(arrived):
                return start is None
            camera = self._camera_file(packet.codec, start)
        assert camera is not None
        wanted = camera.picture(packet, arrived - self._started, keyframe)
        if self._camera_entry is not None and camera.begin is not None:
            self._camera_entry.offset = round(max(0.0, camera.begin), 3)
            self._camera_entry = None
            self._changed()
        return wanted

    # Life

    def flush(self) -> None:
        """Begin to write what has come."""
        for file in (self._motion, self._camera):
            if file is not None:
                file.flush()

    async def close(self) -> None:
        """Write the rest and end every file; what comes later is ignored. Idempotent."""
        self._closed = True
        self._end_motion()
        self._end_camera()
        await asyncio.gather(*self._closing)

    # Inside

    def _may_begin(self, now: float) -> bool:
        if now - self._began < NEW_FILE_SECONDS:
            return False
        self._began = now
        return True

    def _motion_file(self, now: float) -> MotionRecorder | None:
        if self._motion is None and self._model is not None and self._may_begin(now):
            self._end_camera()
            entry = self._begin("motion", ".vav")
            model = self._model
            header = VavHeader(
                profile=model.profile,
                keypoints=model.keypoints,
                size=model.size,
                weights=bytes.fromhex(model.weights),
                rate=None,
                frame_width=model.size,
                frame_height=model.size,
                crop_x=model.size / 2,
                crop_y=model.size / 2,
                crop_side=float(model.size),
                audio_channels=1,
                started_ms=self._started_ms,
            )
            path = self._folder / entry.file
            self._motion = MotionRecorder(self._executor, path, header, lambda reason: self._failed(entry, reason))
        return self._motion

    def _camera_file(self, codec: str, start: KeyframeStart) -> CameraRecorder:
        self._end_motion()
        self._end_camera()
        entry = self._begin("camera", SUFFIXES[codec])
        path = self._folder / entry.file
        self._camera_entry = entry
        self._camera = CameraRecorder(self._executor, path, codec, start, lambda reason: self._failed(entry, reason))
        return self._camera

    def _failed(self, entry: RecordedFile, reason: str) -> None:
        entry.problem = reason
        self._changed()

    def _end_motion(self) -> None:
        file, self._motion = self._motion, None
        self._end(file)

    def _end_camera(self) -> None:
        file, self._camera = self._camera, None
        self._camera_entry = None
        self._end(file)

    def _end(self, file: MotionRecorder | CameraRecorder | None) -> None:
        if file is None:
            return

        async def close() -> None:
            await file.close()
            self._finished += file.written

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _start(packet: MediaPacket) -> KeyframeStart | None:
    try:
        return keyframe_start(packet.codec, packet.payload)
    except ValueError:
        return None
