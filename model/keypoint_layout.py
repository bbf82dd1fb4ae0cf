"""`KeypointLayout`: which of a profile's keypoints belong to the face, to the head and to the body.

The order of keypoints is defined here alone. Every list of K keypoints begins with those of the face, which the
landmark teacher guides; those of hair, neck and what else follows the head come next; those of the body come last.
Face and remaining head together are the head: its keypoints turn with R, x = s (R x_c + delta) + t. The body's do not
turn with the head: their canonical place is the origin, so x = s delta + t, wherever the head looks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KeypointLayout:
    """How many keypoints there are of each kind, in their order."""

    count: int  # K, all of them
    face_count: int = 0  # the first ones; 0: it is not known which are the face's
    body_count: int = 0  # the last ones; 0: all follow the head

    @property
    def head_count(self) -> int:
        """How many keypoints follow the head, those of the face included."""
        return self.count - self.body_count

    @property
    def face(self) -> slice:
        """Of K keypoints those of the face."""
        return slice(0, self.face_count)

    @property
    def head(self) -> slice:
        """Of K keypoints those that follow the head, the face's included."""
        return slice(0, self.head_count)

    @property
    def body(self) -> slice:
        """Of K keypoints those of the body."""
        return slice(self.head_count, self.count)
