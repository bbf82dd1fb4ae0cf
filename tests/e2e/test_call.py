"""The whole product: the receiver, the built-in talker through the real sender, and one or two browser pages."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import OUT, Visit, Visitor

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180.0
TALKER = "Built-in talker"

RECEIVED = """async (name) => {
  const totals = { streams: 0, framesDecoded: 0, freezeCount: 0, fps: 0 };
  Object.assign(totals, { audioPackets: 0, totalAudioEnergy: 0, audioLevel: 0 });
  for (const connection of window.recorded.connections) {
    if (connection.connectionState !== "connected") continue;
    for (const entry of (await connection.getStats()).values()) {
      if (entry.type !== "inbound-rtp") continue;
      if (entry.kind === "video") {
        totals.streams += entry.framesDecoded > 0;
        totals.framesDecoded += entry.framesDecoded;
        totals.freezeCount += entry.freezeCount;
        totals.fps = Math.max(totals.fps, entry.framesPerSecond ?? 0);
      } else {
        totals.audioPackets += entry.packetsReceived;
        totals.totalAudioEnergy += entry.totalAudioEnergy;
        totals.audioLevel = Math.max(totals.audioLevel, entry.audioLevel);
      }
    }
  }
  return totals;
}"""

SAMPLE = """(name) => {
  const tile = [...document.querySelectorAll(".tile")].find((tile) => tile.ariaLabel.startsWith(name));
  const video = tile.querySelector("video");
  const context = new OffscreenCanvas(48, 48).getContext("2d", { willReadFrequently: true });
  window.samples = [];
  const take = () => {
    context.drawImage(video, 0, 0, 48, 48);
    const { data } = context.getImageData(0, 0, 48, 48);
    const grey = [];
    for (let p = 0; p < data.length; p += 4) grey.push((data[p] + data[p + 1] + data[p + 2]) / 3);
    window.samples.push(grey);
    if (window.samples.length < 15) video.requestVideoFrameCallback(take);
  };
  video.requestVideoFrameCallback(take);
}"""
"""Starts to keep fifteen pictures, 48 x 48 grey values each."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """`python -m server call` as a child process, on a free port; gives the page's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "VISAVIS_GONE_SECONDS": "60",  # a slow machine is no vanished peer
        "VISAVIS_ADMIT_SHARE": "0",  # nor is a second view one too many
        "VISAVIS_RENDER_FPS": "10",  # two browser pages share two cores with everything else
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "server", "call", "--port", str(port), "--room", "test"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines: list[str] = []
        joined = threading.Event()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if re.search(r"Open http", line):
                    joined.set()
            joined.set()

        reader = threading.Thread(target=read, name="log of the call")
        reader.start()
        try:
            assert joined.wait(START_SECONDS), "".join(lines)
            assert process.poll() is None, "".join(lines)
            yield f"http://localhost:{port}/?room=test"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join(60)
            OUT.mkdir(parents=True, exist_ok=True)
            (OUT / "call.log").write_text("".join(lines))


def sees(visitor: Visitor, name: str) -> None:
    """Wait until the picture of somebody is there."""
    visitor.wait_for(
        "(name) => [...document.querySelectorAll('.tile.has-picture')].some((tile) => tile.ariaLabel.startsWith(name))",
        name,
    )


def received(visitor: Visitor) -> dict[str, Any]:
    """Totals of getStats over all connections."""
    totals: dict[str, Any] = visitor.evaluate(RECEIVED)
    return totals


def reaches(visitor: Visitor, key: str, value: float) -> dict[str, Any]:
    """Poll the totals until one of them is at least `value`."""
    visitor.until(lambda: received(visitor)[key] >= value)
    return received(visitor)


def measured_frame_by_frame(visitor: Visitor) -> None:
    """The panel's figure is of single frames, and one that a call on one machine can have."""
    visitor.wait_for("() => document.querySelector('.latency[data-measured]')")
    total = float(visitor.evaluate("parseFloat(document.querySelector('.latency-total').textContent)"))
    assert 0 < total < 60_000, "as long as a starved machine may take, and no difference of two unrelated clocks"
    assert "Measured on " in visitor.page.get_by_role("region", name="Latency").inner_text()


def test_the_talker_is_seen_and_heard(visit: Visit, address: str) -> None:
    visitor = visit(address)
    visitor.join("Ada")
    sees(visitor, TALKER)
    reaches(visitor, "framesDecoded", 50)
    totals = reaches(visitor, "totalAudioEnergy", 1e-4)
    visitor.page.get_by_role("button", name="Numbers").click()
    visitor.wait_for("() => document.querySelector('.latency-stage.is-sender, .latency-stage.is-receiver')")
    visitor.wait_for("() => parseFloat(document.querySelector('.figure-value').textContent) > 0")
    measured_frame_by_frame(visitor)
    visitor.screenshot("real-call")
    (OUT / "real-call.json").write_text(json.dumps(totals, indent=1))
    assert visitor.page.get_by_role("slider", name=f"Turn the head of {TALKER}").is_visible()
    visitor.check_quiet()


def test_two_pages_and_a_daemon_meet(visit: Visit, address: str) -> None:
    ada, grace = visit(address, width=900, height=640), visit(address, width=640, height=640)
    ada.join("Ada")
    grace.join("Grace")
    for visitor, other in ((ada, "Grace"), (grace, "Ada")):
        sees(visitor, TALKER)
        sees(visitor, other)
        reaches(visitor, "streams", 2)
        reaches(visitor, "totalAudioEnergy", 1e-4)
    ada.screenshot("real-three")
    grace.page.get_by_role("button", name="Leave").click()
    ada.wait_for("() => document.getElementById('announcements').textContent.includes('Grace left.')")
    ada.wait_for("() => document.querySelectorAll('.tile').length === 2")
    before = received(ada)["framesDecoded"]
    reaches(ada, "framesDecoded", before + 10)
    for visitor in (ada, grace):
        visitor.check_quiet()


def pictures(*visitors: Visitor) -> list[list[float]]:
    """The mean picture of the talker at each visitor, taken over the same time."""
    for visitor in visitors:
        visitor.evaluate(SAMPLE, TALKER)
    means = []
    for visitor in visitors:
        visitor.wait_for("() => window.samples.length === 15")
        samples: list[list[float]] = visitor.evaluate("window.samples")
        means.append([sum(values) / len(samples) for values in zip(*samples, strict=True)])
    return means


def difference(a: list[float], b: list[float]) -> float:
    """Mean absolute difference, in grey values of 0 to 255."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)


def test_the_free_view_turns_the_head(visit: Visit, address: str) -> None:
    # Two viewers at once: the talker moves more by itself than a turned view does, but for both in the same way.
    turning, front = visit(address, width=700, height=560), visit(address, width=700, height=560)
    for visitor, name in ((turning, "Ada"), (front, "Grace")):
        visitor.join(name)
        sees(visitor, TALKER)
    alike = min(difference(*pictures(turning, front)) for _ in range(3))
    pad = turning.page.get_by_role("slider", name=f"Turn the head of {TALKER}")
    pad.focus()
    for _ in range(4):
        turning.page.keyboard.press("Shift+ArrowRight")
    assert pad.get_attribute("aria-valuetext") == "35° right"
    turning.until(lambda: difference(*pictures(turning, front)) > 2 * alike + 2)
    turning.screenshot("real-turned")
    turning.page.keyboard.press("Home")
    turning.until(lambda: difference(*pictures(turning, front)) < 2 * alike + 2)
    for visitor in (turning, front):
        visitor.check_quiet()
