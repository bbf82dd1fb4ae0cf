"""The talker's synthesised voice follows the mouth, and nothing else decides it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from server.benchmark.speech import RATE, speak

FPS = 25.0
TALKING = np.maximum(0.0, np.sin(np.arange(100) / FPS * 2 * np.pi * 2.5)).astype(np.float32)  # 2.5 syllables a second


def loudness(sound: np.ndarray, frames: int) -> np.ndarray:
    """Root mean square of each video frame's stretch of sound."""
    return np.asarray(np.sqrt((sound.reshape(frames, -1) ** 2).mean(1)))


def test_it_is_loud_when_the_mouth_is_open_and_silent_when_it_is_closed() -> None:
    sound = speak(TALKING, FPS)
    levels = loudness(sound, 100)
    assert sound.shape == (4 * RATE,)
    assert np.corrcoef(levels, TALKING)[0, 1] > 0.8
    # A frame's stretch begins at the frame and leads to the next: silent only when both are closed.
    closed = (TALKING < 1e-6) & (np.append(TALKING[1:], 0.0) < 1e-6)
    assert closed.sum() > 20
    assert levels[closed].max() < 0.01 * levels.max()


def test_picture_and_sound_are_in_step() -> None:
    levels = loudness(speak(TALKING, FPS), 100)
    lags = [np.corrcoef(np.roll(levels, lag)[5:-5], TALKING[5:-5])[0, 1] for lag in range(-4, 5)]
    assert abs(int(np.argmax(lags)) - 4) <= 1, "within one frame, 40 ms"


def test_it_is_voiced_and_its_resonances_lie_where_speech_has_them() -> None:
    sound = speak(np.tile(np.array([0.0] * 4 + [1.0] * 21, np.float32), 4), FPS, pitch=185.0)
    spectrum = np.abs(np.fft.rfft(sound[RATE // 5 : RATE // 5 + RATE // 2] * np.hanning(RATE // 2))) ** 2
    hertz = np.fft.rfftfreq(RATE // 2, 1 / RATE)
    low, high = spectrum[hertz < 4000].sum(), spectrum[hertz >= 4000].sum()
    assert low > 50 * high
    harmonic = hertz[100 + int(np.argmax(spectrum[100:200]))]  # 200 to 400 Hz: the first or second harmonic
    assert 170 < harmonic < 420


def test_the_same_seed_gives_the_same_voice() -> None:
    assert np.array_equal(speak(TALKING, FPS, seed=3), speak(TALKING, FPS, seed=3))
    assert not np.array_equal(speak(TALKING, FPS, seed=3), speak(TALKING, FPS, seed=4))


def test_a_mouth_that_stays_closed_says_nothing() -> None:
    assert not speak(np.zeros(50), FPS).any()


@settings(max_examples=15, deadline=None)
@given(arrays.arrays(np.float32, st.integers(2, 40), elements=st.floats(-1e3, 1e3, width=32)))
def test_whatever_the_mouth_does_the_sound_is_bounded(opening: np.ndarray) -> None:
    sound = speak(opening, FPS)
    assert len(sound) == round(len(opening) / FPS * RATE)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("opening", [np.zeros(1), np.array([0.0, np.nan]), np.zeros((2, 2))])
def test_nonsense_is_refused(opening: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        speak(opening, FPS)
