import assert from "node:assert/strict";
import { test } from "node:test";
import { between, comparison, DisplayDelay, latencyStages, Series, shortNumber, snapshot, totalMs, wayToScreen } from "../../client_web/media_statistics.js";

const video = (more) => ({
  type: "inbound-rtp",
  kind: "video",
  bytesReceived: 10_000,
  packetsReceived: 100,
  packetsLost: 0,
  framesDecoded: 50,
  freezeCount: 1,
  jitterBufferDelay: 1.0,
  jitterBufferEmittedCount: 50,
  totalDecodeTime: 0.1,
  frameWidth: 256,
  frameHeight: 256,
  ...more,
});

test("rates are taken between two snapshots", () => {
  const before = snapshot([video({})], 1000);
  const report = [
    video({ bytesReceived: 60_000, packetsReceived: 145, packetsLost: 5, framesDecoded: 100, freezeCount: 2, jitterBufferDelay: 3, jitterBufferEmittedCount: 100, totalDecodeTime: 0.2 }),
    { type: "candidate-pair", nominated: false, currentRoundTripTime: 9 },
    { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.03 },
    { type: "inbound-rtp", kind: "audio", audioLevel: 0.25 },
  ];
  const after = snapshot(report, 3000);
  const seen = between(before, after);
  assert.deepEqual([seen.fps, seen.kbps, seen.lossPercent, seen.freezes], [25, 200, 10, 2]);
  assert.deepEqual([seen.bufferMs, seen.decodeMs, seen.networkMs], [40, 2, 15]);
  assert.equal(after.audioLevel, 0.25);
});

test("a connection without frames gives no delays instead of wrong ones", () => {
  const empty = snapshot([], 0);
  const seen = between(empty, snapshot([], 0));
  assert.deepEqual([seen.fps, seen.bufferMs, seen.decodeMs, seen.networkMs], [0, null, null, null]);
});

test("stages stand in the order of the way, and only those that were measured", () => {
  const received = { ...between(snapshot([], 0), snapshot([], 1000)), bufferMs: 40, decodeMs: 2, networkMs: 15 };
  const stages = latencyStages({ render: 17, capture: 4, playout: NaN, total: 99 }, received, 50);
  assert.deepEqual(
    stages.map(({ name, ms }) => [name, ms]),
    [["capture", 4], ["render", 17], ["delivery", 15], ["jitter", 40], ["decode", 2], ["display", 8]],
  );
  assert.equal(totalMs(stages), 86);
  assert.deepEqual(latencyStages(undefined, null, null), []);
});

test("the screen's share is never negative", () => {
  const received = { ...between(snapshot([], 0), snapshot([], 1000)), bufferMs: 40, decodeMs: 2 };
  assert.equal(latencyStages({}, received, 30).at(-1).ms, 0);
});

test("display delay is the median and leaves out what cannot be", () => {
  const delay = new DisplayDelay(3);
  assert.equal(delay.median(), null);
  for (const ms of [1, 50, 60, 90]) delay.add({ receiveTime: 1000, expectedDisplayTime: 1000 + ms });
  delay.add({ receiveTime: 1000 });
  delay.add({ receiveTime: 1000, expectedDisplayTime: 900 });
  assert.equal(delay.median(), 60);
});

test("the way to the screen says how it was found", () => {
  const stages = [{ name: "render", label: "Rendering", place: "receiver", ms: 30 }, { name: "jitter", label: "Jitter buffer", place: "viewer", ms: 70 }];
  const known = { stages, neural: true, toScreen: null, framesAreNamed: "not yet", clockErrorMs: 0.2 };
  assert.deepEqual([wayToScreen(known).ms, wayToScreen(known).measured], [100, false]);
  assert.match(wayToScreen({ ...known, framesAreNamed: "no" }).words, /^Sum of the stages: this browser/);
  const measured = wayToScreen({ ...known, framesAreNamed: "yes", toScreen: { median: 131.4, p95: 180, frames: 90 } });
  assert.deepEqual([measured.title, measured.ms, measured.measured], ["From capture to screen", 131.4, true]);
  assert.match(measured.words, /last 90 frames: 95 of 100 within 180 ms\. The clocks agree to 1 ms/);
  const first = wayToScreen({ ...known, framesAreNamed: "yes", toScreen: { median: 131.4, p95: 131.4, frames: 1 } });
  assert.equal(first.words, "Measured on the last frame. The clocks agree to 1 ms.");
  assert.equal(wayToScreen({ ...known, neural: false }).title, "From the server to the screen");
});

test("numbers are as short as they are exact", () => {
  assert.deepEqual([0.4234, 3.14, 33.7, NaN].map(shortNumber), ["0.42", "3.1", "34", "–"]);
});

test("the comparison names both ratios and says nothing without a measurement", () => {
  const other = { payloadKbps: 33.7, wireKbps: 45 };
  assert.match(comparison(3.37, 12.5, other), /34 kbit\/s .* 10 times the payload, 3\.6 times on the wire/);
  assert.equal(comparison(0, 0, other), "");
});

test("a series keeps the latest values and draws from the right", () => {
  const series = new Series(3);
  assert.equal(series.points(20, 10), "");
  for (const value of [9, 5, null, 10, 10]) series.add(value);
  assert.deepEqual(series.values, [5, 10, 10]);
  assert.equal(series.points(20, 11), "0.0,6.0 10.0,1.0 20.0,1.0");
});
