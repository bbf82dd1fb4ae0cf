"""What both ends of a call must agree on about a model, read from its weights file without torch and networks.

A sender that plays a recording needs no more, and a receiver knows it long before it can render.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from model.codec.statistics import MotionStatistics
from model.errors import InputError, WeightsError
from model.keypoint_layout import KeypointLayout
from model.motion import POSE_SCALARS, RESIDUAL_FLOW_SCALARS
from model.networks.small_config import PIVOT, SHARP_FACTOR, SMALL, VIEW_GAIN
from model.weights.manifest import LANDMARKS, read_weights

WEIGHTS = Path(__file__).with_name("weights") / "small.safetensors"
"""The embedded default."""

WORTH_SHARP = 0.75
"""Share of a source image's pixels that a crop must have of its own: a webcam's 480 rows are worth 512, 320 are not."""


@dataclass(frozen=True)
class Profile:
    """A named configuration as callers need to know it."""

    name: str
    layout: KeypointLayout
    size: int  # picture side, pixels
    view_gain: float = 1.0  # by how much further a free view turns the head than is asked
    pivot: tuple[float, float, float] | None = None  # canonical place about which it turns; None: as the paper has it
    sharp_size: int | None = None  # side of sharp pictures and of the source images for them; None: there are none

    @property
    def keypoints(self) -> int:
        """K."""
        return self.layout.count

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the pictures that can be rendered, and of source images, pixels, ascending."""
        return (self.size,) if self.sharp_size is None else (self.size, self.sharp_size)

    def source_size(self, available: float) -> int:
        """Side of the source image to make of a crop that has `available` pixels a side."""
        return max((size for size in self.sizes if available >= WORTH_SHARP * size), default=self.size)

    @property
    def motion_size(self) -> int:
        """Scalars of a motion vector, 139 + 3K."""
        return POSE_SCALARS + 3 * self.keypoints + RESIDUAL_FLOW_SCALARS


@dataclass(frozen=True)
class Description:
    """A model without its networks."""

    profile: Profile
    statistics: MotionStatistics
    weights_hash: str
    """SHA-256 of the weights file, and of the landmark network's where motion means what landmarks say; hexadecimal."""


def small_profile() -> Profile:
    """The `small` profile."""
    return Profile("small", SMALL.layout, SMALL.size, VIEW_GAIN, PIVOT, SHARP_FACTOR * SMALL.size)


def named_profile(name: str) -> Profile:
    """Raises InputError for an unknown name."""
    if name == "small":
        return small_profile()
    from model.networks.paper_config import PAPER_PROFILES  # loads torch, as that profile does anyway

    if name in PAPER_PROFILES:
        config = PAPER_PROFILES[name]
        return Profile(name, KeypointLayout(config.keypoints), config.size)
    raise InputError(f"unknown profile {name!r}; there are small, {', '.join(PAPER_PROFILES)}")


def read_description(path: Path | None = None) -> tuple[Description, bytes]:
    """What a safetensors file says, and its bytes; the embedded small model's by default.

    Raises WeightsError when the file is missing, damaged or of an unknown profile.
    """
    path = WEIGHTS if path is None else path
    try:
        data = read_weights(path)
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            codec = {k.removeprefix("codec."): file.get_tensor(k) for k in file.keys() if k.startswith("codec.")}  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"no weights at {path}") from None
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from None
    try:
        profile = named_profile(metadata.get("profile", ""))
    except InputError as error:
        raise WeightsError(f"{path}: {error}") from None
    try:
        statistics = MotionStatistics.from_arrays(codec)
    except (KeyError, ValueError, WeightsError) as error:
        raise WeightsError(f"{path} does not fit the profile {profile.name}: {str(error).splitlines()[0]}") from None
    digest = hashlib.sha256(data)
    if profile.layout.face_count:
        digest.update(LANDMARKS.read_bytes())  # motion means what landmarks say, too
    return Description(profile, statistics, digest.hexdigest()), data


def random_description(name: str = "small", seed: int = 0) -> Description:
    """Of an untrained model. Raises InputError for an unknown profile."""
    profile = named_profile(name)
    digest = hashlib.sha256(f"random {name} {seed}".encode()).hexdigest()
    return Description(profile, MotionStatistics.default(profile.keypoints), digest)
