"""Active speaker and rate limit: pure, told the time."""

from __future__ import annotations

from server.rate_limit import RateLimit
from server.signalling.speaker import HANG_SECONDS, SpeakerDetector

QUIET, LOUD = -70.0, -20.0


def run(detector: SpeakerDetector, start: float, steps: int, **levels: float) -> float:
    for step in range(steps):
        detector.update(start + 0.2 * step, levels)
    return start + 0.2 * steps


def test_a_voice_becomes_active_and_fades_after_the_hang_time() -> None:
    detector = SpeakerDetector()
    now = run(detector, 0.0, 5, a=LOUD, b=QUIET)
    assert detector.active == "a"
    now = run(detector, now, 5, a=QUIET, b=QUIET)
    assert detector.active == "a"
    run(detector, now, int(HANG_SECONDS / 0.2) + 20, a=QUIET, b=QUIET)
    assert detector.active is None


def test_noise_is_nobody() -> None:
    detector = SpeakerDetector()
    run(detector, 0.0, 50, a=-50.0, b=-60.0)
    assert detector.active is None


def test_a_slightly_louder_voice_does_not_take_over() -> None:
    detector = SpeakerDetector()
    now = run(detector, 0.0, 5, a=-25.0)
    now = run(detector, now, 20, a=-25.0, b=-22.0)
    assert detector.active == "a"
    run(detector, now, 20, a=-35.0, b=-22.0)
    assert detector.active == "b"


def test_somebody_who_left_is_not_active() -> None:
    detector = SpeakerDetector()
    now = run(detector, 0.0, 5, a=LOUD)
    assert detector.update(now, {})
    assert detector.active is None


def test_rate_limit() -> None:
    limit = RateLimit(rate=10.0, burst=3.0)
    assert [limit.admit(0.0) for _ in range(4)] == [True, True, True, False]
    assert limit.admit(0.1)
    assert not limit.admit(0.1)
    assert [limit.admit(100.0) for _ in range(4)] == [True, True, True, False]
