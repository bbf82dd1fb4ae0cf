import assert from "node:assert/strict";
import { test } from "node:test";
import { CaptureToScreenMeter } from "../../client_web/capture_to_screen.js";

test("a frame is measured once both its capture and its display are known, whichever is known first", () => {
  const meter = new CaptureToScreenMeter();
  assert.equal(meter.possible, "not yet");
  meter.onShown({ rtpTimestamp: 3000, expectedDisplayTime: 1130 });
  meter.onCaptured([[3000, 51_000], [6000, 51_040]], 50_000);
  assert.deepEqual(meter.figure(1200), { median: 130, p95: 130, frames: 1 });
  meter.onShown({ rtpTimestamp: 6000, expectedDisplayTime: 1150 });
  meter.onCaptured([], 50_000);
  assert.deepEqual(meter.figure(1200), { median: 130, p95: 130, frames: 2 });
  assert.equal(meter.possible, "yes");
});

test("a frame counts once, at its first display", () => {
  const meter = new CaptureToScreenMeter();
  meter.onShown({ rtpTimestamp: 1, expectedDisplayTime: 100 });
  meter.onShown({ rtpTimestamp: 1, expectedDisplayTime: 900 });
  meter.onCaptured([[1, 40]], 0);
  meter.onCaptured([], 0);
  assert.deepEqual(meter.figure(1000), { median: 60, p95: 60, frames: 1 });
});

test("nothing is measured before the clocks are related, and nothing is lost by that", () => {
  const meter = new CaptureToScreenMeter();
  meter.onShown({ rtpTimestamp: 1, expectedDisplayTime: 100 });
  meter.onCaptured([[1, 7040]], null);
  assert.equal(meter.figure(200), null);
  meter.onCaptured([], 7000);
  assert.equal(meter.figure(200)?.median, 60);
});

test("figures are of the last seconds, and their percentiles are of single frames", () => {
  const meter = new CaptureToScreenMeter();
  for (let i = 0; i < 100; i++) {
    meter.onShown({ rtpTimestamp: 3000 * i, expectedDisplayTime: 1000 + 33 * i + (i % 10 === 9 ? 80 : 0) });
    meter.onCaptured([[3000 * i, 950 + 33 * i]], 0);
  }
  assert.deepEqual(meter.figure(4400), { median: 50, p95: 130, frames: 100 });
  assert.equal(meter.figure(20_000), null);
});

test("a browser that does not name its frames measures none", () => {
  const meter = new CaptureToScreenMeter();
  meter.onShown({ expectedDisplayTime: 100 });
  meter.onCaptured([[1, 40]], 0);
  assert.deepEqual([meter.possible, meter.figure(100)], ["no", null]);
});

test("what is remembered is bounded, and clocks that were never related give no figure", () => {
  const meter = new CaptureToScreenMeter();
  for (let i = 0; i < 5000; i++) {
    meter.onShown({ rtpTimestamp: i, expectedDisplayTime: i });
    meter.onCaptured([[10_000 + i, 0]], 0);
  }
  assert.ok(meter.shown.size <= 256 && meter.captured.size <= 256);
  meter.onCaptured([[4999, -1e9]], 0);
  assert.equal(meter.figure(5000), null);
  meter.reset();
  meter.onCaptured([[4998, 4900]], 0);
  assert.equal(meter.figure(5000), null, "another connection counts from another origin");
});
