/** Frames on their way to the worker that aligns, and what it found on its way back. */
import assert from "node:assert/strict";
import test from "node:test";
import { AlignmentLink } from "../../client_web/motion/alignment_link.js";
import { AlignmentRhythm } from "../../client_web/motion/alignment_rhythm.js";
import { KeypointAligner } from "../../client_web/motion/keypoint_aligner.js";
import { EXPRESSION } from "../../client_web/motion/motion.js";
import { GreyPyramid } from "../../client_web/motion/similarity.js";

const KEYPOINTS = 4;
const SIZE = EXPRESSION + 3 * KEYPOINTS + 128;
const LAYOUT = { keypoints: KEYPOINTS, features: 1, face: 2, body: 1 };

/** A port whose worker is the test. */
function staged() {
  const sent = [];
  let listener = () => {};
  const link = new AlignmentLink({ postMessage: (message) => sent.push(message), addEventListener: (_type, heard) => (listener = heard) });
  return { link, sent, answer: (message) => listener({ data: message }) };
}

const picture = { planes: [] };
const source = () => ({ picture: "pixels", canonical: "canonical", motion: "motion", reference: { picture } });
const motion = () => {
  const vector = new Float32Array(SIZE);
  vector[3] = 1;
  return vector;
};
const found = (id, milliseconds = 10) => ({ type: "aligned", id, correction: new Float32Array(2 * KEYPOINTS).fill(0.5), residualFlow: new Float32Array(128).fill(0.25), milliseconds });
const kinds = (sent) => sent.map(({ type }) => type);

test("alignment takes no more than its share of the time", () => {
  const rhythm = new AlignmentRhythm();
  assert.ok(rhythm.due(10));
  rhythm.took(10, 0.002);
  assert.deepEqual([10.05, 10.06].map((time) => rhythm.due(time)), [false, true]);
  rhythm.took(11, 0.1);
  assert.deepEqual([11.1, 11.49, 11.5].map((time) => rhythm.due(time)), [false, false, true]);
});

test("nothing is corrected before the worker is ready, nor after it failed", () => {
  const { link, sent, answer } = staged();
  const vector = motion();
  assert.equal(link.follow(source(), picture, vector, 0), vector);
  assert.deepEqual(sent, []);
  answer({ type: "ready" });
  assert.equal(link.follow(source(), picture, vector, 1), vector);
  assert.deepEqual(kinds(sent), ["source", "frame"]);
  answer(found(1));
  answer({ type: "failed", problem: "an error that the test wants" });
  assert.equal(link.follow(source(), picture, vector, 2), vector);
  assert.equal(sent.length, 2);
});

test("one frame at a time is aligned, and all that follow are corrected by it", () => {
  const { link, sent, answer } = staged();
  answer({ type: "ready" });
  const driven = source();
  link.follow(driven, picture, motion(), 0);
  link.follow(driven, picture, motion(), 0.5);
  assert.deepEqual(kinds(sent), ["source", "frame"]);
  assert.equal(sent[0].source.picture, "pixels");
  answer(found(1, 100));
  const corrected = link.follow(driven, picture, motion(), 0.45);
  assert.deepEqual([...corrected.subarray(EXPRESSION, EXPRESSION + 3)], [0.5, 0.5, 0], "in the picture's plane");
  assert.equal(corrected.at(-1), 0.25);
  assert.equal(link.milliseconds, 100);
  assert.equal(sent.length, 2, "0.1 s are a fifth of 0.5 s");
  link.follow(driven, picture, motion(), 0.5);
  assert.deepEqual(kinds(sent), ["source", "frame", "frame"]);
  assert.equal(sent[2].motion[EXPRESSION], 0, "as it was before correction");
});

test("another source image is aligned to anew, and a late answer for the last one is not taken", () => {
  const { link, sent, answer } = staged();
  answer({ type: "ready" });
  link.follow(source(), picture, motion(), 0);
  const other = source();
  link.follow(other, picture, motion(), 0.1);
  assert.deepEqual(sent.map(({ type, id }) => [type, id]), [["source", 1], ["frame", 1], ["source", 2], ["frame", 2]]); // prettier-ignore
  answer(found(1));
  assert.equal(link.follow(other, picture, motion(), 0.2)[EXPRESSION], 0);
  answer(found(2));
  assert.equal(link.follow(other, picture, motion(), 0.3)[EXPRESSION], 0.5);
});

test("a frame's dense motion begins where the last frame was found", async () => {
  const side = 256;
  const data = new Uint8ClampedArray(4 * side * side).map((_, i) => (i % 4 === 3 ? 255 : ((i >> 2) * 37) % 251));
  const frame = { width: side, height: side, data };
  const thumbnails = new GreyPyramid(frame);
  const [quarter, eighth, asked] = [6, 3, []];
  const model = {
    counts: [quarter, eighth],
    layout: LAYOUT,
    features: async (pixels, canonical, driving) => {
      assert.deepEqual([pixels.length, canonical.length, driving.length], [3 * side * side, 3 * KEYPOINTS, SIZE]);
      return Float32Array.from({ length: quarter + eighth + 128 * 128 }, (_, i) => (i < quarter + eighth ? i : 1));
    },
    surface: async (...given) => {
      asked.push(given);
      const area = 64 * 64;
      return Float32Array.from({ length: (2 + KEYPOINTS + 1) * area }, (_, i) => {
        const [plane, x, y] = [Math.floor(i / area), i % 64, Math.floor((i % area) / 64)];
        if (plane < 2) return (2 * (plane === 0 ? x : y) + 1) / 64 - 1; // nothing has moved
        return 1 / (KEYPOINTS + 1);
      });
    },
  };
  const canonical = Float32Array.from({ length: 3 * KEYPOINTS }, (_, i) => (i % 5) / 5 - 0.4);
  const aligner = await KeypointAligner.of(model, { picture: frame, thumbnails, canonical, motion: motion() });
  const first = await aligner.follow(thumbnails, motion());
  assert.ok(first.correction.every((value) => Math.abs(value) < 1e-6), "the frame is the source image");
  assert.deepEqual([...asked[0][3]], [0, 1, 2, 3, 4, 5]);
  assert.deepEqual([...asked[0][4]], [6, 7, 8]);
  aligner.alignment = { ...first, correction: first.correction.map(() => 0.06) }; // too far to follow
  await aligner.follow(thumbnails, motion());
  assert.equal(asked[1][2][EXPRESSION], Math.fround(0.06));
});
