/** The page's mouth windows: geometry, skin and choice against the daemon's golden vectors. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { bareSkin, skinUnevenness } from "../../client_web/motion/mouth_skin.js";
import { cutWindow, MAX_WINDOW_BYTES, mouthCoordinates, mouthPoints, shapeDistance, usable } from "../../client_web/motion/mouth_window.js";
import { sharpness } from "../../client_web/motion/source_choice.js";
import { WindowChoice } from "../../client_web/motion/window_choice.js";
import { canonical, surroundings, vector } from "./made_up.mjs";
import { near } from "./near.mjs";

const golden = JSON.parse(await readFile(new URL("../vectors/extraction.json", import.meta.url)));
const { guided } = golden.layout;
const crop = surroundings(0, 0, false, 0);

/** The made-up mouth of extraction_vectors.py. */
function mouthShape(index) {
  const [upper, lower, skew] = [((7 * index) % 12) / 24, ((7 * index) % 12) / 8, ((index % 7) - 3) / 8];
  const [above, below, side] = [upper + 0.25 + (index % 5) / 16, lower + 0.375, 0.4375 + (index % 3) / 16];
  const middle = [skew, -above, skew, below, skew, -upper, skew, lower];
  return [-1, 0, 1, 0, ...middle, -side, -0.7 * above, side, -0.7 * above, -side, 0.9 * below, side, 0.9 * below];
}

test("keypoints of the mouth, their coordinates and distances are the daemon's", () => {
  near(mouthPoints(canonical(1), vector(3), guided), golden.mouth.keypoints, 2e-5);
  for (const { points, coordinates, usable: can } of golden.mouth.mouths) {
    near(mouthCoordinates(points), coordinates, 2e-5);
    assert.equal(usable(points), can);
  }
  const shapes = [0, 1, 2, 3, 4, 5].map(mouthShape);
  near(shapes.flatMap((a) => shapes.map((b) => shapeDistance(a, b))), golden.mouth.distances, 2e-5); // prettier-ignore
});

test("a window is cut as the daemon cuts it", () => {
  for (const { points, usable: can, lips, middle, half, side, green } of golden.mouth.mouths) {
    if (!can) continue;
    const window = cutWindow(crop, points);
    assert.deepEqual([window.lips, window.middle, window.half, window.picture.width], [lips, middle, half, side]);
    near(window.picture.data.filter((_, i) => i % 4 === 1).filter((_, i) => i % 37 === 0), green, 0); // prettier-ignore
  }
});

test("what lies before a mouth and how sharp a frame is are told as the daemon tells them", () => {
  for (const { points, unevenness } of golden.mouth.mouths) {
    if (unevenness !== undefined) near([skinUnevenness(crop, points)], [unevenness], 1e-3);
  }
  near([bareSkin(0.01), bareSkin(0.2)], golden.mouth.bare_skin, 1e-5);
  near([sharpness(crop)], [golden.mouth.sharpness], 2e-5);
});

test("windows are asked for at the very frames", () => {
  const choice = new WindowChoice();
  const asked = [];
  for (let frame = 0; frame < 1100; frame++) {
    if (frame === 900) choice.cut();
    const wider = frame >= 400 && frame < 900 ? 2 : 1;
    const shape = mouthShape(Math.floor(frame / 2)).map((value, i) => (i % 2 ? wider * value : value));
    const now = 5 + 0.06 * frame;
    const slot = choice.update(shape, mouthShape(Number(frame >= 900)), frame % 7 !== 3, now);
    if (slot !== null && frame % 11 !== 1) choice.sent(slot, shape, 600 + ((8 * frame) % 1000), now);
    if (slot !== null) asked.push([frame, slot]);
  }
  assert.deepEqual(asked, golden.window_choice);
});

test("windows of a minute are never more than thirty kilobytes", () => {
  const choice = new WindowChoice();
  const sent = [];
  for (let look = 0; look < 1500; look++) {
    const [shape, now] = [mouthShape(look * look), 0.11 * look];
    const slot = choice.update(shape, mouthShape(0), true, now);
    if (slot === null) continue;
    choice.sent(slot, shape, MAX_WINDOW_BYTES, now);
    sent.push(now);
  }
  assert.ok(sent.length >= 7);
  sent.forEach((from) => assert.ok(sent.filter((at) => at >= from && at < from + 60).length * MAX_WINDOW_BYTES <= 30_000));
});
