import assert from "node:assert/strict";
import { test } from "node:test";
import { clampView, describeView, dragView, FRONT, keyView, LIMIT, ViewThrottle } from "../../client_web/free_view_pad.js";

test("dragging right turns right, dragging up looks up, and the picture's size is the whole range", () => {
  assert.deepEqual(dragView(FRONT, 100, 0, 400), { yaw: 22.5, pitch: 0 });
  assert.deepEqual(dragView(FRONT, 0, -100, 400), { yaw: 0, pitch: 15 });
  assert.deepEqual(dragView({ yaw: 30, pitch: 20 }, 400, -400, 400), LIMIT);
  assert.deepEqual(dragView(FRONT, -1e6, 1e6, 0), { yaw: -LIMIT.yaw, pitch: -LIMIT.pitch });
});

test("the pad resists beyond 25 degrees and stops at 35, and the way back is the same", () => {
  assert.equal(dragView(FRONT, 100, 0, 400).yaw, 22.5);
  assert.equal(dragView(FRONT, 300, 0, 400).yaw, 35);
  const there = dragView(FRONT, -160, 0, 400);
  assert.equal(there.yaw, -29.4);
  assert.equal(dragView(there, 160, 0, 400).yaw, 0);
});

test("views stay in the limits, in tenths, without a negative zero", () => {
  assert.deepEqual(clampView({ yaw: 12.345, pitch: -0.01 }), { yaw: 12.3, pitch: 0 });
  assert.equal(Object.is(clampView({ yaw: -0.01, pitch: 0 }).yaw, 0), true);
});

test("arrow keys turn in small steps, with Shift in large ones, and Home faces front", () => {
  assert.deepEqual(keyView(FRONT, "ArrowRight", false), { yaw: 3, pitch: 0 });
  assert.deepEqual(keyView(FRONT, "ArrowUp", true), { yaw: 0, pitch: 10 });
  assert.deepEqual(keyView({ yaw: -34, pitch: 0 }, "ArrowLeft", false), { yaw: -35, pitch: 0 });
  assert.deepEqual(keyView({ yaw: 9, pitch: 9 }, "Home", false), FRONT);
  assert.equal(keyView(FRONT, "Tab", false), null);
});

test("views in words", () => {
  assert.equal(describeView(FRONT), "facing front");
  assert.equal(describeView({ yaw: -12.2, pitch: 5 }), "12° left, 5° up");
  assert.equal(describeView({ yaw: 0.2, pitch: -5 }), "5° down");
});

test("at most one view goes out per interval and the last one always does", () => {
  const throttle = new ViewThrottle(50);
  const view = (yaw) => ({ yaw, pitch: 0 });
  assert.deepEqual(throttle.offer(view(1), 1000), { send: view(1), wakeIn: null });
  assert.deepEqual(throttle.offer(view(2), 1010), { send: null, wakeIn: 40 });
  assert.deepEqual(throttle.offer(view(3), 1020), { send: null, wakeIn: null });
  assert.deepEqual(throttle.wake(1050), view(3));
  assert.equal(throttle.wake(1060), null);
  assert.deepEqual(throttle.offer(view(4), 1070), { send: null, wakeIn: 30 });
  assert.deepEqual(throttle.offer(view(5), 1101), { send: view(5), wakeIn: null });
  assert.equal(throttle.wake(1102), null);
});
