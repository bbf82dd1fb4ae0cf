"""The `small` profile: real time on a laptop CPU, the embedded default.

Budget at 256x256: extract at most 0.15 GMAC, render at most 1.0 GMAC a frame; enrolment runs once and may cost more.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.keypoint_layout import KeypointLayout

# MediaPipe face-mesh indices of the keypoints that the landmark teacher guides. "Left" is the left of the image.
GUIDED: tuple[int, ...] = (
    33, 133, 159, 145,  # left eye: outer and inner corner, upper and lower lid
    263, 362, 386, 374,  # right eye
    468, 473,  # irises
    105, 55, 334, 285,  # brows: middle and inner end, left then right
    168, 4, 98, 327,  # nose: bridge, tip, wings
    61, 291, 0, 17, 13, 14,  # mouth: corners, outer upper and lower, inner upper and lower
    40, 270, 91, 321,  # lips between corner and middle
    152, 172, 397,  # chin, jaw corners
    50, 280,  # cheeks
    234, 454,  # in front of the ears
    10,  # forehead
)  # fmt: skip

# The keypoint that takes each guided keypoint's place in a mirrored picture, by position in GUIDED.
MIRROR: tuple[int, ...] = (
    4, 5, 6, 7, 0, 1, 2, 3, 9, 8, 12, 13, 10, 11, 14, 15, 17, 16,
    19, 18, 20, 21, 22, 23, 25, 24, 27, 26, 28, 30, 29, 32, 31, 34, 33, 35,
)  # fmt: skip

# Where the free keypoints start, in the teacher's face units (eye distance 0.45, y down, z away); training moves them,
# and in use they go where the picture does (model/registration/keypoints.py).
FREE: tuple[tuple[float, float, float], ...] = (
    (0.0, -0.80, 0.35),  # crown
    (-0.50, -0.55, 0.40),  # hair, left of the image
    (0.50, -0.55, 0.40),  # hair, right
    (-0.30, -0.75, 0.35), (0.30, -0.75, 0.35),  # between crown and hair
    (-0.65, -0.10, 0.40), (0.65, -0.10, 0.40),  # beside the temples
    (-0.62, 0.63, 0.40), (0.62, 0.63, 0.40),  # below the ears
    (-0.28, -0.32, -0.02), (0.28, -0.32, -0.02),  # corners of the forehead
    (0.0, 1.19, 0.23),  # neck
    (-0.68, -0.41, 0.40), (0.68, -0.41, 0.40),  # hair above the temples
    (-0.80, 0.38, 0.45), (0.80, 0.38, 0.45),  # hair beside the ears
    (-0.42, 0.93, 0.20), (0.42, 0.93, 0.20),  # sides of the neck
)  # fmt: skip

# Where the body's keypoints lie in a picture before training, crop units.
BODY: tuple[tuple[float, float], ...] = (
    (-0.60, 0.88),  # shoulder, left of the image
    (0.60, 0.88),  # shoulder, right
    (0.0, 0.85),  # below the neck
    (-0.33, 0.72),
    (0.33, 0.72),  # collar
    (-0.88, 0.97),
    (0.88, 0.97),  # upper arms
)

WILD = 4.0
"""Crop units: a driving keypoint further out than that is none."""

EYES: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
EYE_KEYPOINTS = ((0, 1, 2, 3, 8), (5, 4, 6, 7, 9))
"""Positions in GUIDED of either eye, left of the picture first: left and right corner, upper and lower lid, iris."""

MOUTH: tuple[int, ...] = (18, 19, 20, 21, 22, 23, 24, 25, 26, 27)
"""Positions in GUIDED of the keypoints around eyes and mouth, whose surroundings weigh more in training."""

FEATURES: tuple[int, ...] = tuple(range(max(*EYES, *MOUTH) + 1))
"""Positions of the keypoints of eyes, brows, nose and mouth; the other guided ones are the head's outline."""


LAYOUT = KeypointLayout(len(GUIDED) + len(FREE) + len(BODY), face_count=len(GUIDED), body_count=len(BODY))
"""GUIDED, FREE, BODY, in this order."""


@dataclass(frozen=True)
class SmallConfig:
    """Widths and sizes of the `small` networks."""

    size: int = 256  # picture side, pixels
    layout: KeypointLayout = LAYOUT
    depth: int = 8  # D, depth planes of the volume
    volume: int = 12  # C, channels of the volume
    depth_range: tuple[float, float] = (-0.5, 0.9)  # first and last plane, crop units (z away from the viewer)
    skips: tuple[int, int, int] = (16, 32, 64)  # channels of the 2D features at 1/2, 1/4 and 1/8 of the picture
    generator: tuple[int, int, int] = (20, 40, 80)  # channels of the generator at 1/2, 1/4 and 1/8
    extractor: tuple[int, ...] = (16, 32, 48, 96, 128)  # channels of the motion extractor, each at half the size before

    @property
    def keypoints(self) -> int:
        """K."""
        return self.layout.count


SHARP_FACTOR = 2
"""Sides of a sharp picture per side of one of the networks'."""

VIEW_GAIN = 1.2
"""A free view turns the head so much further than is asked: the landmark teacher's depth of a face is too flat. Of
training people turned by 20 degrees it reads 15 without, 18 with it."""

PIVOT = (0.0, 0.4, 0.15)
"""Canonical place about which a free view turns the head: the upper end of the neck. Filmed heads of twelve training
clips turn about (0, .50, .51); so far back the face goes too far from where the source image shows it."""

SMALL = SmallConfig()
