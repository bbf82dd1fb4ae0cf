"""What a whole call takes of a sender's line: the daemon against a server in another process, counted at the UDP level.

Motion is the built-in talker's, 25 frames a second. Sound is read in real time from a file, as from a microphone: a
synthesised voice that never pauses, or the noise of a quiet room; and, once, the recording's own.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.errors import VisavisError
from model.talking_head import TalkingHead
from server.benchmark.counted_sockets import CountingLoop
from server.benchmark.processes import BenchmarkError, server_process
from server.benchmark.speech import RATE, speak
from server.sender.build import DEFAULT_FPS
from server.sender.connection.access import Access
from server.sender.daemon import Daemon, Destination
from server.sender.media.feed import Feed, FeedListener
from server.sender.media.inputs import PORTRAIT, open_file
from server.sender.media.reader import Timeline
from server.sender.media.recording import Recording, RecordingFeed, read_recording
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.sound import SoundCapture, SoundQueue
from server.settings import load_settings

WARM_UP_SECONDS = 4.0
"""Connecting, the source image and the first answers are not the call."""

_KBPS = 25.0
_SOUND_SECONDS = 12.0
_NOISE = 20.0  # root of the mean square of a quiet room, int16: -64 dBov


class _Still:
    """A listener between feed and daemon that keeps motion back."""

    def __init__(self, listener: FeedListener) -> None:
        self.on_source: Callable[[SourceImage], None] = listener.on_source
        self.on_window: Callable[[WindowUpload], None] = listener.on_window
        self.on_presence, self.on_end, self.on_notice = listener.on_presence, listener.on_end, listener.on_notice

    def on_motion(self, sample: MotionSample, stages: StageTimes) -> None:
        pass


class _SpokenFeed:
    """The recording's motion with sound from a file, through all that a microphone's sound goes through. A `Feed`."""

    def __init__(self, recording: Recording, listener: FeedListener, sound: Path) -> None:
        self._motion = RecordingFeed(recording, listener, fps=DEFAULT_FPS, clock=time.monotonic, sound=False)
        self.sound: SoundQueue | None = SoundQueue(asyncio.get_running_loop())
        self._capture = SoundCapture(
            lambda: open_file(str(sound)),
            self.sound,
            clock=time.monotonic,
            timeline=Timeline(time.monotonic(), _SOUND_SECONDS),
            loop=True,
            on_problem=listener.on_notice,
        )

    @property
    def dropped(self) -> int:
        return self._motion.dropped

    def start(self) -> None:
        self._motion.start()
        self._capture.start()

    def source_taken(self, index: int) -> None:
        self._motion.source_taken(index)

    def source_refused(self, index: int, error: VisavisError) -> None:
        self._motion.source_refused(index, error)

    async def close(self) -> None:
        await asyncio.to_thread(self._capture.close)
        await self._motion.close()


def measure(seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """Five calls, each counted for `seconds`; JSON-ready figures in kbit/s. Raises BenchmarkError."""
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        return runner.run(_measure(seconds, progress))


async def _measure(seconds: float, progress: Callable[[str], None]) -> dict[str, Any]:
    model = TalkingHead.load(engine="torch", threads=1)
    recording = read_recording(PORTRAIT, model.statistics, model.weights_hash)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        voice, room = Path(folder) / "voice.wav", Path(folder) / "room.wav"
        opening = np.abs(np.sin(np.arange(int(25 * _SOUND_SECONDS)) * 0.9))
        _write(voice, np.round(speak(opening, 25.0) * 32767).astype(np.int16))
        noise = np.random.default_rng(0).normal(0.0, _NOISE, int(_SOUND_SECONDS * RATE))
        _write(room, np.round(noise).astype(np.int16))

        def recorded(listener: FeedListener) -> Feed:
            return RecordingFeed(recording, listener, fps=DEFAULT_FPS, clock=time.monotonic, sound=True)

        async with server_process() as address:
            calls: dict[str, Callable[[FeedListener], Feed]] = {
                "talking": lambda listener: _SpokenFeed(recording, listener, voice),
                "listening": lambda listener: _SpokenFeed(recording, listener, room),
                "voice_alone": lambda listener: _SpokenFeed(recording, _Still(listener), voice),
                "recording": recorded,
                "silent": lambda listener: RecordingFeed(
                    recording, listener, fps=DEFAULT_FPS, clock=time.monotonic, sound=False
                ),
            }
            parts: dict[str, Any] = {}
            for name, feed in calls.items():
                progress(f"uplink, {name.replace('_', ' ')}")
                parts[name] = await _call(address, name, feed, model, seconds)
    figures["uplink_kbps_talking"] = parts["talking"]["up"]
    figures["uplink_kbps_listening"] = parts["listening"]["up"]
    figures["uplink_kbps_face"] = round(parts["talking"]["up"] - parts["voice_alone"]["up"], 2)
    figures["uplink_kbps_recording"] = parts["recording"]["up"]
    figures["uplink_kbps_without_sound"] = parts["silent"]["up"]
    figures["downlink_kbps_sender"] = parts["talking"]["down"]
    return figures | {"uplink_parts": parts}


async def _call(
    address: str, name: str, make_feed: Callable[[FeedListener], Feed], model: TalkingHead, seconds: float
) -> dict[str, Any]:
    """One call, counted once it stands."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    daemon = Daemon(
        Destination(address, "uplink", name),
        Access(address, "uplink", None, load_settings()),
        make_feed,
        lambda: MotionEncoder(model.statistics, Rate.for_kbps(_KBPS)),
        weights=model.weights_hash,
        clock=time.monotonic,
    )
    running = asyncio.create_task(daemon.run(), name="visavis-uplink")
    try:
        async with asyncio.timeout(30):
            await daemon.wait_live()
        await asyncio.sleep(WARM_UP_SECONDS)
        loop.counted.clear()
        began = time.monotonic()
        await asyncio.sleep(seconds)
        elapsed, counted = time.monotonic() - began, loop.counted
        status = daemon.status()
        kbps = {
            direction: {kind: round(8 * count / elapsed / 1000, 2) for kind, count in sorted(counter.items())}
            for direction, counter in (("up", counted.up), ("down", counted.down))
        }
        return {
            "up": round(8 * counted.up.total() / elapsed / 1000, 2),
            "down": round(8 * counted.down.total() / elapsed / 1000, 2),
            "up_parts": kbps["up"],
            "down_parts": kbps["down"],
            "packets_up": {kind: round(count / elapsed, 1) for kind, count in sorted(counted.packets_up.items())},
            "packets_down": {kind: round(count / elapsed, 1) for kind, count in sorted(counted.packets_down.items())},
            "motion_payload": round(status.motion_kbps, 2),
            "sound_payload": round(status.sound_kbps, 2),
            "motion_fps": round(status.fps, 1),
        }
    except TimeoutError:
        raise BenchmarkError("the daemon does not come into the call") from None
    finally:
        daemon.stop()
        await asyncio.gather(running, return_exceptions=True)


def _write(path: Path, samples: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
