import assert from "node:assert/strict";
import { test } from "node:test";
import { deviceNotices, explainDeviceError, meterLevel } from "../../client_web/devices.js";
import { arrange, divide } from "../../client_web/layout.js";

test("tiles fill the stage without leaving it, at every count and size", () => {
  for (const [width, height] of [[374, 640], [1318, 600], [1872, 900], [844, 300]]) {
    for (let count = 1; count <= 16; count++) {
      const { columns, rows, width: w, height: h } = arrange(count, width, height, { gap: 12, smallest: 0 });
      assert.ok(columns * rows >= count && columns * (rows - 1) < count, `${count} in ${columns}x${rows}`);
      assert.ok(columns * w + 12 * (columns - 1) <= width && rows * h + 12 * (rows - 1) <= height, `${count} at ${width}x${height}`);
      assert.ok(w / h > 0.97 && w / h < 4 / 3 + 0.05, `shape ${w}x${h}`);
    }
  }
});

test("a phone stacks two people, a laptop puts them side by side", () => {
  assert.equal(arrange(2, 374, 640).columns, 1);
  assert.equal(arrange(2, 1318, 600).columns, 2);
});

test("sixteen people on a phone scroll instead of shrinking", () => {
  const tile = arrange(16, 374, 640, { gap: 8, smallest: 150 });
  assert.equal(tile.columns, 2);
  assert.ok(tile.width >= 150 && tile.rows * tile.height > 640);
});

test("a stage without room still gives numbers", () => {
  const tile = arrange(3, 0, 0);
  assert.ok(Number.isFinite(tile.width) && Number.isFinite(tile.height));
});

test("the meter goes from -60 dB to full scale", () => {
  assert.equal(meterLevel(new Float32Array(64)), 0);
  assert.equal(meterLevel(new Float32Array(64).fill(1)), 1);
  assert.ok(Math.abs(meterLevel(new Float32Array(64).fill(0.0316)) - 0.5) < 0.01);
  assert.equal(meterLevel(new Float32Array(0)), 0);
});

test("every device error names the device and a way out", () => {
  for (const cause of ["NotAllowedError", "NotFoundError", "NotReadableError", "OverconstrainedError", "TypeError", "ended", ""]) {
    for (const device of ["camera", "microphone", "camera and microphone"]) {
      const { title, advice } = explainDeviceError(cause, device);
      assert.match(title, new RegExp(device.replace(" and ", " (and|or) ")));
      assert.match(advice, /join/);
    }
  }
  assert.match(explainDeviceError("insecure", "camera").advice, /https/);
});

test("two devices that failed for one reason make one notice", () => {
  const [camera, microphone] = ["camera", "microphone"].map((device) => explainDeviceError("NotAllowedError", device));
  assert.deepEqual(deviceNotices(camera, microphone).map(({ title }) => title), ["Your camera and microphone are blocked"]);
  assert.deepEqual(deviceNotices(camera, explainDeviceError("NotFoundError", "microphone")).length, 2);
  assert.deepEqual(deviceNotices(null, microphone), [microphone]);
  assert.deepEqual(deviceNotices(null, null), []);
});

test("a shared screen has most of the stage, and everybody the rest", () => {
  for (const [width, height] of [[1900, 900], [1366, 640], [390, 700], [320, 480]]) {
    const { beside, screen, rest } = divide(width, height, 12);
    assert.equal(beside, width > height);
    assert.ok(screen.width > 0 && screen.height > 0 && rest.width > 0 && rest.height > 0);
    assert.ok(screen.width * screen.height > 1.9 * rest.width * rest.height);
    assert.equal(beside ? screen.width + 12 + rest.width : screen.height + 12 + rest.height, beside ? width : height);
  }
});
