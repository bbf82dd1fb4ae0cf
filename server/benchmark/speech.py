"""A voice for the built-in talker: vowel-like sound synthesised from how far a mouth is open. It says nothing.

No recording of a person is in it. A source-filter synthesiser: a pulse train with a wandering pitch (the glottis), a
little breath, and three resonances (the vocal tract) whose first one rises with the opening of the jaw.
Source: D. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67(3), 1980.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

RATE = 48_000

_HOP = 240  # samples (5 ms) for which the resonances stand still
_VOWELS = np.array([[850, 2600], [1100, 2500], [1500, 2500], [1900, 2650], [2250, 2950]], np.float64)  # F2, F3 in Hz
_BANDWIDTHS = (70.0, 100.0, 140.0)  # Hz, of F1 to F3
_CLOSED = 0.06  # opening below which the voice is silent; in shares of the widest
_FULL = 0.55  # opening from which it is at full strength


def speak(opening: NDArray[np.floating], fps: float, *, pitch: float = 185.0, seed: int = 0) -> NDArray[np.float32]:
    """Sound in step with a mouth.

    `opening` (T,): how far the mouth is open per frame, in any unit; its 5th percentile counts as closed, its 95th as
    wide open. `pitch` in Hz. Returns float32 (round(T / fps * 48000),) within [-0.5, 0.5]; the same for the same seed.
    Raises ValueError unless `opening` holds at least two finite numbers and `fps` is positive.
    """
    if opening.ndim != 1 or len(opening) < 2 or not np.isfinite(opening).all() or fps <= 0:
        raise ValueError("the mouth's opening is a sequence of at least two finite numbers at a positive rate")
    rng = np.random.default_rng(seed)
    count = round(len(opening) / fps * RATE)
    low, high = np.percentile(opening, (5, 95))
    share = np.clip((opening - low) / max(high - low, 1e-9), 0.0, 1.0) if high > low else np.zeros(len(opening))
    frames = (np.arange(count) / RATE) * fps
    mouth = np.interp(frames, np.arange(len(opening)), share)  # (N,) in [0, 1]
    loudness = np.clip((mouth - _CLOSED) / (_FULL - _CLOSED), 0.0, 1.0) ** 1.2
    sound = _formants(_glottis(count, mouth, pitch, rng), mouth, _vowel_targets(mouth, rng)) * loudness
    peak = float(np.abs(sound).max())
    return (sound * (0.5 / peak) if peak > 0 else sound).astype(np.float32)


def _glottis(count: int, mouth: NDArray[np.float64], pitch: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Excitation (N,): pulses whose pitch falls slowly over a phrase and rises with stress, and some breath."""
    seconds = np.arange(count) / RATE
    phrase = 1.0 - 0.06 * ((seconds / 2.8) % 1.0)
    vibrato = 1.0 + 0.012 * np.sin(2 * np.pi * 5.1 * seconds) + 0.02 * np.sin(2 * np.pi * 0.7 * seconds + 1.0)
    phase = np.cumsum(pitch * phrase * vibrato * (0.95 + 0.12 * mouth)) / RATE
    cycle = phase % 1.0
    # Rosenberg's pulse: opens over 40 % of the cycle, closes over 16 %; its derivative excites the tract.
    pulse = np.where(
        cycle < 0.4,
        0.5 * (1.0 - np.cos(np.pi * cycle / 0.4)),
        np.where(cycle < 0.56, np.cos(np.pi / 2 * (cycle - 0.4) / 0.16), 0.0),
    )
    breath = rng.standard_normal(count) * 0.012 * (0.3 + pulse)
    excitation: NDArray[np.float64] = np.diff(pulse, prepend=0.0) + breath
    return excitation


def _vowel_targets(mouth: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """F2 and F3 (N / hop, 2) in Hz: another vowel each time the mouth has closed, glided to over 60 ms."""
    steps = mouth[::_HOP]
    opens = (steps[1:] >= 0.25) & (steps[:-1] < 0.25)
    syllable = np.concatenate([[0], np.cumsum(opens)])
    vowels = rng.integers(0, len(_VOWELS), syllable[-1] + 1)
    targets = _VOWELS[vowels[syllable]]
    glide = np.exp(-_HOP / RATE / 0.06)
    smooth: NDArray[np.float64] = lfilter([1 - glide], [1, -glide], targets - targets[0], axis=0) + targets[0]
    return smooth


def _formants(
    excitation: NDArray[np.float64], mouth: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The excitation through three resonators in cascade (Klatt 1980, equations 1 to 3), hop by hop."""
    sound = excitation.copy()
    states = [np.zeros(2) for _ in _BANDWIDTHS]
    for hop, (second, third) in enumerate(targets):
        piece = slice(hop * _HOP, (hop + 1) * _HOP)
        first = 280.0 + 520.0 * mouth[hop * _HOP]
        part = sound[piece]
        for i, (frequency, bandwidth) in enumerate(zip((first, second, third), _BANDWIDTHS, strict=True)):
            radius = np.exp(-np.pi * bandwidth / RATE)
            b, c = 2.0 * radius * np.cos(2 * np.pi * frequency / RATE), -(radius**2)
            part, states[i] = lfilter([1.0 - b - c], [1.0, -b, -c], part, zi=states[i])
        sound[piece] = part
    return sound
