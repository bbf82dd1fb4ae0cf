"""Whether the page's memory grows while it sends motion, over ten minutes: `python -m tests.e2e.page_memory`.

Chromium sends the motion of a portrait before a fake camera, and a voice, to the stage. What is printed every 20
seconds: MiB of the page and of its workers after a garbage collection, as the browser counts them; resident memory of
the browser's renderer process, and seconds of the processor that it took; frames of motion a second. At the end the
slopes of the second half, MiB a minute.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.conftest import PATIENCE_MS, chromium_path
from tests.e2e.fake_camera import with_camera
from tests.e2e.staged import Stage

MIB = 1 << 20
FPS, FRAMES = 25, 100
SAMPLE_SECONDS = 20.0

MEASURED_AT_ONCE = "--enable-blink-features=ForceEagerMeasureMemory"
"""With a garbage collection of its own; otherwise Chromium waits for one that comes by itself."""

MEASURE = """async () => {
  const { breakdown } = await performance.measureUserAgentSpecificMemory();
  const sums = [0, 0];
  for (const { attribution, bytes } of breakdown) {
    sums[Number(attribution.some(({ scope }) => scope !== "Window"))] += bytes;
  }
  return sums;
}"""


@dataclass(frozen=True)
class Sample:
    """What the page holds at one time."""

    at: float  # seconds
    page: float  # MiB
    workers: float  # MiB
    resident: float  # MiB
    processor: float  # seconds of the renderer's threads together, since the last sample
    frames: float  # of motion a second, since the last sample


def slope(samples: Sequence[Sample], name: str) -> float:
    """MiB a minute of the second half."""
    half = samples[len(samples) // 2 :]
    at = np.array([sample.at for sample in half]) / 60
    return float(np.polyfit(at, [getattr(sample, name) for sample in half], 1)[0])


def renderer(browser: Browser) -> tuple[float, float]:
    """Resident MiB of the largest renderer process, and seconds of the processor that it has taken."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return max((resident(process["id"]), process["cpuTime"]) for process in processes if process["type"] == "renderer")


def resident(process: int) -> float:
    """MiB of memory that a process has in RAM; 0 when it is gone."""
    try:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def joined(page: Page, url: str) -> None:
    """In a call, sending motion."""
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.get_by_text("Face found.", exact=True).wait_for()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Join the call").click()
    page.get_by_role("group", name="Call controls").wait_for()


def watch(browser: Browser, stage: Stage, seconds: float) -> list[Sample]:
    """Samples of a page in a call for so long."""
    page = browser.new_context(permissions=["camera", "microphone"]).new_page()
    page.on("console", lambda message: print(f"      {message.text}", flush=True))
    joined(page, stage.url)
    samples: list[Sample] = []
    began = before = time.monotonic()
    count, (_, taken) = 0, renderer(browser)
    print(f"{'s':>5} {'page':>8} {'workers':>8} {'resident':>8}  MiB; processor, s; frames/s", flush=True)
    while not samples or samples[-1].at < seconds:
        page.wait_for_timeout(1000 * SAMPLE_SECONDS)
        now = time.monotonic()
        frames = sum(one.frames for one in list(stage.publications.values()))
        memory, processor = renderer(browser)
        of_page, of_workers = page.evaluate(MEASURE)
        rate = (frames - count) / (now - before)
        samples.append(Sample(now - began, of_page / MIB, of_workers / MIB, memory, processor - taken, rate))
        count, before, taken = frames, now, processor
        print("{:5.0f} {:8.1f} {:8.1f} {:8.1f}  {:.1f} {:.1f}".format(*astuple(samples[-1])), flush=True)
    return samples


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    arguments = parser.parse_args()
    path = chromium_path()
    if path is None:
        raise SystemExit("Chromium is not installed (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder, Stage() as stage, sync_playwright() as playwright:
        given = [*with_camera(Path(folder) / "portrait.y4m", FRAMES, FPS), MEASURED_AT_ONCE]
        with playwright.chromium.launch(executable_path=path, headless=True, args=given) as browser:
            samples = watch(browser, stage, arguments.seconds)
    for name in ("page", "workers", "resident"):
        print(f"{name}: {slope(samples, name):+.3f} MiB a minute")


if __name__ == "__main__":
    main()
