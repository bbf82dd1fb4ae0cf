/** The page's windows of mouth and eyes against the daemon's golden vectors: geometry, what hides a face, bytes. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { alike, eyeAreas } from "../../client_web/motion/eye_area.js";
import { cutEyes, eyeCoordinates, eyeDistance, eyePoints, eyesUsable } from "../../client_web/motion/eye_window.js";
import { inverseOfAny, times } from "../../client_web/motion/matrix.js";
import { bareSkin, CallMouth, skinUnevenness } from "../../client_web/motion/mouth_skin.js";
import { cutMouth, mouthPoints, mouthUsable, shapeDistance } from "../../client_web/motion/mouth_window.js";
import { sharpness } from "../../client_web/motion/source_choice.js";
import { cornerCoordinates, EYE_SLOTS, MAX_WINDOW_BYTES, MOUTH_SLOTS } from "../../client_web/motion/window.js";
import { bare, encodeWindow, headerOf } from "../../client_web/motion/window_bytes.js";
import { canonical, eyeShape, mixed, mouthShape, surroundings, vector } from "./made_up.mjs";
import { near } from "./near.mjs";

const golden = async (name) => JSON.parse(await readFile(new URL(`../vectors/${name}.json`, import.meta.url)));
const { layout, mouth, eyes } = await golden("extraction");
const { guided } = layout;
const crop = surroundings(0, 0, false, 0);
const someGreen = ({ data }) => data.filter((_, i) => i % 4 === 1).filter((_, i) => i % 37 === 0);
const indices = [0, 1, 2, 3, 4, 5];

test("mouths have 48 slots, and eyes the twelve after", () => {
  assert.deepEqual([...MOUTH_SLOTS, ...EYE_SLOTS], [...new Array(60).keys()]);
  assert.deepEqual([MOUTH_SLOTS.at(-1), EYE_SLOTS[0]], [47, 48]);
});

test("keypoints of the mouth, their coordinates and distances are the daemon's", () => {
  near(mouthPoints(canonical(1), vector(3), guided), mouth.keypoints, 2e-5);
  for (const { points, coordinates, usable } of mouth.placed) {
    near(cornerCoordinates(points), coordinates, 2e-5);
    assert.equal(mouthUsable(points), usable);
  }
  const shapes = indices.map(mouthShape);
  near(shapes.flatMap((a) => shapes.map((b) => shapeDistance(a, b))), mouth.distances, 2e-5); // prettier-ignore
});

test("keypoints of both eyes, their coordinates and distances are the daemon's", () => {
  near(eyePoints(canonical(1), vector(3), guided), eyes.keypoints, 2e-5);
  for (const { points, coordinates, usable } of eyes.placed) {
    near(eyeCoordinates(points), coordinates, 2e-5);
    assert.equal(eyesUsable(points), usable);
  }
  assert.ok(eyes.placed.some(({ usable }) => usable) && eyes.placed.some(({ usable }) => !usable));
  const shapes = indices.map(eyeShape);
  near(shapes.flatMap((a) => shapes.map((b) => eyeDistance(a, b))), eyes.distances, 2e-5); // prettier-ignore
});

test("a mouth window is cut as the daemon cuts it", () => {
  for (const { points, usable, lips, middle, half, side, green } of mouth.placed) {
    if (!usable) continue;
    const { picture, ...window } = cutMouth(crop, points);
    near(window.lips, lips, 0);
    assert.deepEqual([window.middle, window.half, picture.width, picture.height], [middle, half, side, side]);
    near(someGreen(picture), green, 0);
  }
});

test("an eye window is cut as the daemon cuts it", () => {
  for (const { points, usable, lids, side, green } of eyes.placed) {
    if (!usable) continue;
    const { picture, ...window } = cutEyes(crop, points);
    near(window.lids, lids, 0);
    assert.deepEqual([picture.width, picture.height], [2 * side, side]);
    assert.equal(picture.data.length, 8 * side * side);
    near(someGreen(picture), green, 0);
  }
});

test("what lies before a mouth and how sharp a frame is are told as the daemon tells them", () => {
  for (const { points, unevenness } of mouth.placed) {
    if (unevenness !== undefined) near([skinUnevenness(crop, points)], [unevenness], 1e-3);
  }
  near([bareSkin(0.01), bareSkin(0.2)], mouth.bare_skin, 1e-5);
  const called = new CallMouth(mouth.call.own);
  assert.deepEqual(mouth.call.seen.map((/** @type {number} */ one) => called.update(one)), mouth.call.covered); // prettier-ignore
  near([sharpness(crop)], [mouth.sharpness], 2e-5);
});

test("areas of eyes are the daemon's, also where they reach beyond the crop", () => {
  for (const { points, areas } of eyes.placed) {
    const found = eyeAreas(crop, points).flatMap((area) => [...area]);
    near(found.filter((_, i) => i % 7 === 0), areas, 5e-5); // prettier-ignore
  }
});

test("what lies before an eye is told as the daemon tells it", () => {
  const other = surroundings(0, 0, true, 0);
  const half = mixed(crop, other, (x) => x < 128);
  const grey = { ...crop, data: new Uint8ClampedArray(crop.data.length).fill(128) };
  const pictures = [crop, surroundings(0, 0, false, 30), surroundings(3, 2, false, 0), half, other, surroundings(40, 0, false, 0), grey];
  const areas = pictures.map((picture) => eyeAreas(picture, eyes.placed[0].points));
  assert.deepEqual(areas.map((a) => areas.map((b) => alike(a, b))), eyes.alike); // prettier-ignore
  assert.deepEqual([alike(areas[0], areas[1]), alike(areas[3], areas[0])], [true, false]);
});

test("a matrix that is not positive definite is inverted all the same, one without an inverse refused", () => {
  const matrix = Float64Array.of(0, 2, 1, 2, 0, -3, 1, -3, 0);
  const found = inverseOfAny(matrix, 3);
  near(times(found, times(matrix, [1, -2, 5])), [1, -2, 5], 1e-12);
  assert.deepEqual([...matrix], [0, 2, 1, 2, 0, -3, 1, -3, 0]);
  assert.throws(() => inverseOfAny(Float64Array.of(1, 2, 2, 4), 2), RangeError);
});

const lips = cutMouth(crop, mouth.placed[0].points);
const lids = cutEyes(crop, eyes.placed[1].points);

test("a window's first bytes say which it is and where its keypoints are", async () => {
  assert.deepEqual([...new Int8Array(headerOf(lips).buffer)], [1, lips.middle, lips.half, ...lips.lips]);
  assert.deepEqual([...new Int8Array(headerOf(lids).buffer)], [2, ...lids.lids]);
  assert.deepEqual([headerOf(lips).length, headerOf(lids).length], [19, 13]);
  assert.ok([...lips.lips, ...lids.lids].some((value) => value < 0));
  const steps = (coordinates) => coordinates.flat(2).map((value) => Math.round(48 * value));
  const [one, both] = [await golden("mouth_window"), await golden("eye_window")];
  const header = (window) => Buffer.from(headerOf(window)).toString("hex");
  assert.equal(header({ lips: steps(one.lips), middle: 48 * one.middle, half: 48 * one.half }), one.bytes.slice(0, 38));
  assert.equal(header({ lids: steps(both.lids) }), both.bytes.slice(0, 26));
});

for (const [window, size] of /** @type {const} */ ([[lips, 19], [lids, 13]])) // prettier-ignore
  test(`${size} bytes and a picture that is made coarser until it fits`, async () => {
    const asked = [];
    const write = (bytes, type) => async (picture, quality) => {
      assert.equal(picture, window.picture);
      asked.push(quality);
      return new Blob([new Uint8Array(Math.round(bytes * quality)).fill(7)], { type });
    };
    const data = await encodeWindow(window, write(6000, "image/webp"));
    assert.ok(asked.length > 1 && asked.every((quality, i) => i === 0 || quality < asked[i - 1]));
    assert.ok(data.length <= MAX_WINDOW_BYTES && data.length === size + Math.round(6000 * asked.at(-1)));
    assert.deepEqual([...data.subarray(0, size + 1)], [...headerOf(window), 7]);
    assert.equal(await encodeWindow(window, write(100, "image/png")), null);
    const large = encodeWindow(window, async () => new Blob([new Uint8Array(5000)], { type: "image/webp" }));
    await assert.rejects(large, RangeError);
  });

test("of a browser's WebP only the coded picture is sent", () => {
  const chunk = (kind, size) => [...Buffer.from(kind), size, 0, 0, 0, ...new Array(size + (size % 2)).fill(9)];
  const riff = (...chunks) => Uint8Array.from([...Buffer.from("RIFF"), chunks.flat().length + 4, 0, 0, 0, ...Buffer.from("WEBP"), ...chunks.flat()]);
  const plain = riff(chunk("VP8 ", 7));
  assert.deepEqual(bare(riff(chunk("VP8X", 10), chunk("ICCP", 5), chunk("VP8 ", 7), chunk("EXIF", 3))), plain);
  assert.deepEqual(bare(plain), plain);
  assert.deepEqual(bare(Uint8Array.of(1, 2, 3)), Uint8Array.of(1, 2, 3));
});
