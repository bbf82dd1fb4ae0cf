"""What `--source` can name, and how each platform's FFmpeg opens its camera and microphone."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import av.device
from av.container import InputContainer

from model.codec.vav import read_vav
from model.errors import InputError
from model.media.container import file_address, picture_stream

CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
MICROPHONE_FORMATS = {"linux": ("pulse", "alsa"), "darwin": ("avfoundation",), "win32": ("dshow",)}

ALSA_CONFIGURATION = Path("/usr/share/alsa")
"""Where Debian, Fedora and Arch keep it; PyAV's wheel looks in its own build folder instead."""

PORTRAIT = Path(__file__).with_name("portrait.vav")
"""The built-in talker: a public-domain portrait, its motion and its voice (PORTRAIT.md)."""


def portrait_of(weights: Path | None) -> Path:
    """The built-in talker as it was recorded with these weights, None for the embedded default.

    Where there is none of its own, the default's, which plays with no others.
    """
    own = PORTRAIT if weights is None else PORTRAIT.with_name(f"portrait_{weights.stem}.vav")
    return own if own.exists() else PORTRAIT


@dataclass(frozen=True)
class MediaInput:
    """One parsed `--source`."""

    kind: Literal["camera", "file", "recording"]
    place: str
    """camera: device ("" = the default one); file, recording: path."""


def parse_source(text: str) -> MediaInput:
    """Read `camera`, `camera:DEVICE`, `portrait`, a video file or a `.vav` recording.

    Raises InputError when the file is not there.
    """
    if text == "portrait":
        text = str(PORTRAIT)
    name, _, device = text.partition(":")
    if name == "camera":
        return MediaInput("camera", device)
    path = Path(text).expanduser()
    if not path.is_file():
        raise InputError(f"no such source: {text} (camera, camera:DEVICE, portrait, a video file or a .vav recording)")
    return MediaInput("recording" if path.suffix == ".vav" else "file", str(path))


def check_source(source: MediaInput, platform: str = sys.platform) -> None:
    """Whether the source can be opened and shows something, so that this is told before the model loads.

    Raises InputError, BitstreamError for a damaged recording.
    """
    if source.kind == "recording":
        read_vav(Path(source.place))
        return
    with open_camera(source.place, platform) if source.kind == "camera" else open_file(source.place) as container:
        if picture_stream(container) is None:
            raise InputError(f"{source.place or 'the camera'} has no picture")


def open_file(path: str) -> InputContainer:
    """Open a video file. Raises InputError when FFmpeg cannot read it."""
    try:
        return av.open(file_address(path))
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"cannot read {path}: {_reason(error)}") from error


_COMPRESSED = {"v4l2": {"input_format": "mjpeg"}, "dshow": {"vcodec": "mjpeg"}}
"""Uncompressed pictures of that size are more than USB 2 carries 30 times a second."""


def open_camera(device: str, platform: str = sys.platform) -> InputContainer:
    """Open a camera at 1280x720, whose head crop has the pixels of a sharp source image; else at 640x480, which every
    webcam has, else as it comes.

    `device`: a name or path of the platform, a number, or "" for the default. Raises InputError.
    """
    form = CAMERA_FORMATS.get(platform)
    if form is None:
        raise InputError(f"no camera support on {platform}; use --source FILE")
    address = camera_address(device, platform)
    rate = {"framerate": "30"}
    for options in ({"video_size": "1280x720"} | rate | _COMPRESSED.get(form, {}), {"video_size": "640x480"} | rate):
        with contextlib.suppress(av.FFmpegError, OSError):
            return av.open(address, format=form, options=options)
    try:
        return av.open(address, format=form)
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"cannot open camera {address}: {_reason(error)}") from error


def camera_address(device: str, platform: str = sys.platform) -> str:
    """FFmpeg's name of a camera. Raises InputError on Windows when there is none to be the default."""
    if platform == "linux":
        if device.isdecimal() or not device:
            return f"/dev/video{device or 0}"
        return device
    if platform == "darwin":
        return f"{device or 'default'}:none"
    name = device if device and not device.isdecimal() else _nth_device("dshow", "video", int(device or 0))
    return f"video={name}"


def open_microphone(platform: str = sys.platform) -> InputContainer:
    """Open the default microphone. Raises InputError with the reason of the last format tried."""
    reason = f"no microphone support on {platform}"
    for form in MICROPHONE_FORMATS.get(platform, ()):
        if form not in av.formats_available and form != "avfoundation":
            continue
        if form == "alsa" and ALSA_CONFIGURATION.is_dir():
            os.environ.setdefault("ALSA_CONFIG_DIR", str(ALSA_CONFIGURATION))
        try:
            return av.open(_microphone_address(form), format=form)
        except (av.FFmpegError, OSError, InputError) as error:
            reason = f"cannot open the microphone ({form}): {_reason(error)}"
    raise InputError(reason)


def _microphone_address(form: str) -> str:
    if form == "avfoundation":
        return "none:default"
    if form == "dshow":
        return f"audio={_nth_device('dshow', 'audio', 0)}"
    return "default"


def _nth_device(form: str, medium: str, index: int) -> str:
    names = [device.name for device in av.device.enumerate_input_devices(form) if medium in device.media_types]
    if index >= len(names):
        raise InputError(f"no {medium} device number {index}: {len(names)} found")
    return names[index]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
