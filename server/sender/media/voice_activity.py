"""Whether somebody speaks, from the energy of the sound above the noise around. Pure: takes samples.

libopus has DTX of its own, but PyAV 18.1 does not pass the option on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ABOVE_NOISE_DB = 9.0
"""A piece this much louder than the noise is speech."""

QUIETEST_DB = -62.0
"""dBov; what is quieter is silence, however quiet the noise is."""

LOUDEST_NOISE_DB = -40.0
"""dBov; what is this much above it, or louder, always counts as speech: music and traffic are not muted."""

HANGOVER_SECONDS = 0.4
"""Speech goes on for so long after the last loud piece: soft ends of words, pauses between them."""

RISE_DB_PER_SECOND = 3.0
"""How fast the noise is taken to grow while it is louder than was thought."""


class VoiceActivity:
    """Follows the noise's level as the least energy lately, and compares each piece with it."""

    def __init__(self) -> None:
        self._noise = LOUDEST_NOISE_DB  # dBov
        self._left = 0.0  # seconds of hangover

    def active(self, samples: NDArray[np.int16], seconds: float) -> bool:
        """Whether the piece `samples` (N,), `seconds` long, is to be heard."""
        level = _dbov(samples)
        if level < self._noise:
            self._noise = level
        else:
            self._noise = min(self._noise + RISE_DB_PER_SECOND * seconds, level, LOUDEST_NOISE_DB)
        if level >= max(self._noise + ABOVE_NOISE_DB, QUIETEST_DB):
            self._left = HANGOVER_SECONDS
            return True
        self._left = max(0.0, self._left - seconds)
        return self._left > 0.0


def _dbov(samples: NDArray[np.int16]) -> float:
    power = float(np.mean(np.square(samples.astype(np.float32) / 32768.0))) if samples.size else 0.0
    return 10.0 * float(np.log10(max(power, 1e-12)))
