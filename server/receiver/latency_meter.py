"""How long the pictures of one motion publication took in each stage, from capture to encoded frame."""

from __future__ import annotations

from server.media.picture import PictureTimes
from server.rate_window import RateWindow
from server.receiver.control_session import ControlSession
from server.receiver.measures import Percentiles
from server.receiver.motion_inlet import RATE_SECONDS
from server.receiver.observer import Observer


class LatencyMeter:
    """Reads the times of each picture at the end of its way. Pure: takes the time.

    Stages, in seconds: `network`, `playout`, `queue`, `render`, `video_encode`, and `total` from capture to encoded
    frame. The sender reports its own stages over the control channel. `network` is what remains of a frame's age on
    arrival without them.
    """

    def __init__(self, control: ControlSession, arrival_age: Percentiles, metrics: Observer) -> None:
        """`arrival_age`: seconds from capture to arrival of frames."""
        self._control = control
        self._arrival_age = arrival_age
        self._metrics = metrics
        self._stages: dict[str, Percentiles] = {}
        self._pictures = RateWindow(RATE_SECONDS, 1.0)

    @property
    def total(self) -> float | None:
        """Median seconds from capture to encoded frame; None before the first picture."""
        return self._at("total", 0.5)

    @property
    def total_95(self) -> float | None:
        """95th percentile of the seconds from capture to encoded frame; None before the first picture."""
        return self._at("total", 0.95)

    @property
    def medians(self) -> dict[str, float]:
        """Median seconds of each stage that was measured."""
        return {name: values.median for name, values in self._stages.items() if values.median is not None}

    @property
    def after_playout(self) -> float | None:
        """Median seconds from when a picture is due to its encoded frame; None before the first picture."""
        stages = [self._at(name, 0.5) for name in ("queue", "render", "video_encode")]
        return None if any(stage is None for stage in stages) else sum(stage or 0.0 for stage in stages)

    def picture_rate(self, now: float) -> float:
        """Pictures a second that were encoded lately, over all views."""
        return self._pictures.rate(now)

    def clear(self) -> None:
        """Forget the stages so far."""
        self._stages.clear()

    def picture_encoded(self, times: PictureTimes, now: float) -> None:
        """One picture has been encoded at `now`, seconds of the receiver's clock."""
        self._pictures.add(1, now)
        self._measure("queue", times.queue)
        self._measure("render", times.render)
        self._measure("video_encode", times.encode)
        if times.captured is None:
            return
        arrival = self._arrival_age.median
        if arrival is not None:
            stages = self._control.sender_stages
            sent = sum(stages.get(name, 0.0) for name in ("capture", "extract", "encode"))
            self._measure("network", max(arrival - sent, 0.0))
            self._measure("playout", max(times.played - times.captured - arrival, 0.0))
        self._measure("total", now - times.captured)

    def _at(self, stage: str, share: float) -> float | None:
        values = self._stages.get(stage)
        return None if values is None else values.at(share)

    def _measure(self, stage: str, seconds: float) -> None:
        self._stages.setdefault(stage, Percentiles()).add(seconds)
        self._metrics.stage(stage, seconds)
