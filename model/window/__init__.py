"""Windows: small pictures of a person's mouth or eyes beside a source image, which does not show all of them.

Each has a slot of its own beside the source images of one sender: mouths the first ones, eyes those after.
"""

from __future__ import annotations

from model.window import eyes, mouth

Window = mouth.MouthWindow | eyes.EyeWindow

MAX_WINDOW_BYTES = 4096
"""Of one; they take 0.3 to 1 kB."""

MOUTH_SLOTS = range(mouth.MAX_WINDOWS)
EYE_SLOTS = range(mouth.MAX_WINDOWS, mouth.MAX_WINDOWS + eyes.MAX_WINDOWS)

MAX_WINDOWS = EYE_SLOTS.stop
"""Of both, beside one source image."""
