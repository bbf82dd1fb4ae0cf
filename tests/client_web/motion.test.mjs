/** The page's arithmetic around the networks against the daemon's golden vectors. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { align, aligned, AlignmentReference } from "../../client_web/motion/alignment.js";
import { BackgroundTracker } from "../../client_web/motion/background.js";
import { BodyTracker } from "../../client_web/motion/body.js";
import { cropMotion, cut, faceCrop } from "../../client_web/motion/crop.js";
import { facesOf } from "../../client_web/motion/detector.js";
import { FollowedSurface } from "../../client_web/motion/followed_surface.js";
import { CropFollower, faceOfLandmarks } from "../../client_web/motion/head_crop.js";
import { keypointTransforms } from "../../client_web/motion/keypoint_transforms.js";
import { LandmarkTracker } from "../../client_web/motion/landmark_tracker.js";
import { widened } from "../../client_web/motion/model.js";
import { BACKGROUND, facePoints, following, placed, stillPoints, withCanonical, withFace } from "../../client_web/motion/motion.js";
import { regionOfLandmarks, sample, toFrame } from "../../client_web/motion/region.js";
import { GreyPyramid } from "../../client_web/motion/similarity.js";
import { eyeOpenness, FirstChoice, gap, quality, SourceCover, SourceSelection } from "../../client_web/motion/source_choice.js";
import { canonical, surroundings, vector } from "./made_up.mjs";
import { near } from "./near.mjs";

const golden = JSON.parse(await readFile(new URL("../vectors/extraction.json", import.meta.url)));
const { guided, features, still, keypoints, body } = golden.layout;
const heads = keypoints - body;

/** The made-up picture of extraction_vectors.py; `width` columns of it. */
function frame(width = golden.frame.width) {
  const { height } = golden.frame;
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) data[4 * (y * width + x) + c] = (7 * x + 13 * y + 50 * c + 5 * ((x * y) % 23)) % 256;
  }
  return { width, height, data };
}

function landmarks(seed) {
  return Float32Array.from(
    Array.from({ length: 478 }, (_, i) => [12 + ((i * (7 + seed)) % 97) / 4, 8 + ((i * (5 + seed)) % 89) / 4, ((i * (3 + seed)) % 31) / 8 - 2]).flat(),
  );
}

function detectorOutput(faces) {
  const output = new Float32Array(896 * 17);
  for (let anchor = 0; anchor < 896; anchor++) output[17 * anchor] = -8;
  for (const [anchor, logit, size] of faces) output.set([logit, 0.5, -0.25, size, size, -8, -6, 8, -5, ...new Array(8).fill(0.5)], 17 * anchor);
  return output;
}

const numbers = ({ x, y, side }) => [x, y, side];

test("a region is sampled and led back as in Python", () => {
  for (const { region, beyond, values, to_frame: places } of golden.samples) {
    near(sample(region, frame(), 6, beyond), values, 1e-4, JSON.stringify(region));
    near([...toFrame(region, 0.25, 0.75), ...toFrame(region, 1.5, -0.5)], places, 1e-4);
  }
  const region = regionOfLandmarks(landmarks(3));
  near([region.x, region.y, region.side, region.angle], Object.values(golden.region_of_landmarks), 1e-5);
});

test("a crop is cut to the very grey values of Pillow", () => {
  for (const { crop, size, rgb } of golden.crops) {
    const { data } = cut(crop, frame(), size);
    near(data.filter((_, i) => i % 4 < 3), rgb, 0, JSON.stringify(crop));
  }
});

test("the crop of a face lies where the daemon puts it", () => {
  const faces = [[20, 15, 8], [2, 3, 10], [40, 30, 40]]; // prettier-ignore
  faces.forEach((face, i) => near(numbers(faceCrop(...face, golden.frame.width, golden.frame.height)), numbers(golden.face_crops[i]), 1e-5));
  near(cropMotion({ x: 20, y: 15, side: 24 }, { x: 26, y: 12, side: 30 }), golden.crop_motion, 1e-5);
});

test("the crop follows a head step by step", () => {
  const follower = new CropFollower();
  golden.follower.forEach(({ face, elapsed, crop }, i) => near(numbers(follower.follow(face, elapsed, 640, 480)), numbers(crop), 1e-4, `step ${i}`));
  follower.jump({ x: 100, y: 100, height: 50 });
  near(numbers(follower.follow(null, 0.04, 640, 480)), [100, 105, 110], 1e-9);
});

test("a face's middle and height are read off its landmarks", () => {
  const points = new Float32Array(3 * 478);
  points.set([10, 20, 0], 30);
  points.set([10, 56, 48], 3 * 152);
  const { x, y, height } = faceOfLandmarks(points);
  near([x, y, height], [10, 38 + 0.018 * 60, 60], 1e-5);
});

test("the detector's answer is read as faces", () => {
  const faces = facesOf(detectorOutput(golden.detector.seen));
  assert.equal(faces.length, golden.detector.faces.length);
  faces.forEach(({ box, score }, i) => near([...box, score], [...golden.detector.faces[i].box, golden.detector.faces[i].score], 1e-5));
  assert.deepEqual(facesOf(detectorOutput([])), []);
});

test("landmarks become keypoints, and motion relative to a source", () => {
  const { crop, points, with_face: placed, with_canonical: relative } = golden.motion;
  const found = facePoints(landmarks(2), crop, { guided, still });
  near(found, points, 2e-5);
  const motion = withFace(vector(3), canonical(1), found);
  near(motion, placed, 2e-5);
  near(withCanonical(motion, canonical(1), canonical(4), guided.length), relative, 2e-5);
  assert.ok(Math.abs(eyeOpenness(canonical(1), motion, guided) - golden.motion.eye_openness) < 1e-4);
});

test("a head follows its landmarks between two frames that the extractor sees", () => {
  const moved = Float32Array.from(landmarks(2));
  for (let i = 0; i < 478; i++) {
    const [x, y, z] = landmarks(2).subarray(3 * i, 3 * i + 3);
    moved.set([1.25 * x + 0.25 * y - 3, 1.25 * y - 0.25 * x + 0.5 * z + (i % 5) / 16, 1.25 * z - 0.5 * y], 3 * i);
  }
  const [before, after] = [landmarks(2), moved].map((points) => stillPoints(points, golden.motion.crop, { still }));
  near(following(vector(3), canonical(1), before, after, heads), golden.motion.following, 1e-4);
  near(following(vector(3), canonical(1), before, before, heads), vector(3), 1e-5);
});

test("frames are judged as source images as the daemon does", () => {
  const { sharpness, frontality, eyes } = quality(frame(golden.frame.height), vector(3), 0.2);
  near([sharpness, frontality, eyes], golden.motion.quality, 2e-5);
  const source = { canonical: canonical(4), motion: vector(2), crop: { x: 0, y: 0, side: 1 } };
  assert.ok(Math.abs(gap(source, vector(3), heads) - golden.motion.gap) < 1e-4);
});

test("sources are wanted and changed at the very frames", () => {
  const crop = { x: 0, y: 0, side: 1 };
  const cover = new SourceCover({ canonical: canonical(4), motion: vector(2), crop }, heads);
  golden.cover.forEach(({ yaw, spoken, wanted, index }, i) => {
    const driving = vector(2);
    driving[0] = yaw;
    if (spoken) for (let k = 11; k < 41; k++) driving[k] += 0.0625;
    assert.equal(cover.update(driving, i > 12 ? 0.7 : 0.5, i / 10), wanted, `frame ${i}`);
    if (wanted) cover.add({ canonical: canonical(4), motion: driving, crop });
    assert.equal(cover.index, index, `frame ${i}`);
  });
  assert.ok(golden.cover.some(({ wanted }) => wanted) && golden.cover.at(-1).index !== undefined);
});

test("the first choice takes the best of a window, and a refused one is chosen anew", () => {
  const candidate = (sharpness) => ({ picture: frame(), motion: vector(0), quality: { sharpness, frontality: 1, eyes: 1 }, crop: { x: 0, y: 0, side: 1 } });
  const choice = new FirstChoice();
  assert.equal(choice.consider(candidate(0.5), 0), null);
  assert.equal(choice.consider(candidate(0.4), 0.7), null);
  assert.equal(choice.consider(candidate(0.3), 0.8).quality.sharpness, 0.5);
  assert.ok(new FirstChoice().consider(candidate(0.9), 0));
  const selection = new SourceSelection(heads);
  const source = { canonical: canonical(1), motion: vector(0), crop: { x: 0, y: 0, side: 1 } };
  assert.ok(selection.choose(candidate(0.9), 0));
  assert.equal(selection.offer(source), 0);
  selection.answer(0, false);
  assert.ok(selection.choosing);
  assert.ok(selection.choose(candidate(0.9), 1));
  selection.offer(source);
  selection.answer(7, true); // an answer to something else
  assert.equal(selection.current, null);
  selection.answer(0, true);
  assert.equal(selection.current, source);
});

test("the tracker asks its networks as the daemon's does", async () => {
  let [confidences, logits] = [[], []];
  const points = landmarks(1).map((value) => 4 * value);
  const tracker = new LandmarkTracker(
    async () => Float32Array.from([confidences.shift(), ...points]),
    async () => detectorOutput([[150, logits.shift(), 40]]),
  );
  for (const step of golden.tracker) {
    [confidences, logits] = [[...step.confidences], [...step.logits]];
    const found = await tracker.update(frame(), step.time);
    assert.deepEqual([confidences.length, logits.length], step.left, `at ${step.time} s`);
    if (step.points === null) assert.equal(found, null);
    else near([0, 100, 477].flatMap((i) => [...found.subarray(3 * i, 3 * i + 3)]), step.points, 1e-3, `at ${step.time} s`);
  }
});

test("half precision is widened exactly", () => {
  const halves = [0x0000, 0x8000, 0x3c00, 0xc000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0x3555];
  const floats = [0, -0, 1, -2, 2 ** -24, -1023 * 2 ** -24, 2 ** -14, 65504, 0.333251953125];
  assert.deepEqual([...widened(Uint16Array.from(halves))], floats);
  assert.ok(Number.isNaN(widened(Uint16Array.of(0x7e00))[0]));
});

test("background and body are found where the daemon finds them", () => {
  const background = new BackgroundTracker();
  assert.throws(() => background.backdrop(), RangeError);
  let [source, tracker] = [null, null];
  golden.registration.forEach(({ crop, expected, known, place, measured, body: points }, i) => {
    const picture = new GreyPyramid(surroundings(...crop));
    const driving = vector(3);
    driving.set([0.55, 0.05 - crop[0] / 128, -0.15 - crop[1] / 128], 3);
    background.follow(picture, driving, known ? source : null, expected);
    near(background.place(known ? source : null), place, 2e-3, `background, step ${i}`);
    if (i === 3) {
      source = background.backdrop();
      tracker = new BodyTracker(picture, driving, heads, body);
    }
    if (tracker === null) return;
    const followed = tracker.follow(picture, driving);
    near(followed.subarray(11 + 3 * heads, 11 + 3 * keypoints), points, 4e-3, `body, step ${i}, ${measured}`);
  });
});

/** The made-up network of extraction_vectors.py. */
function surfaceOf(source, driving) {
  const [side, area] = [64, 64 * 64];
  const unit = (pixel) => (2 * pixel + 1) / side - 1;
  const [then, now] = [source, driving].map((motion) => placed(canonical(1), motion, keypoints));
  const meanFlow = [0, 1].map((axis) => driving.slice(-128).reduce((sum, value, i) => sum + (i % 2 === axis ? value : 0), 0) / 64);
  const [flow, masks] = [new Float32Array(2 * area), new Float32Array((keypoints + 1) * area)];
  for (let i = 0; i < area; i++) {
    const at = [unit(i % side), unit(Math.floor(i / side))];
    const likely = [Math.exp(-1)];
    for (let k = 0; k < keypoints; k++) likely.push(Math.exp(-20 * ((at[0] - ((7 * k) % 19) / 9.5 + 0.95) ** 2 + (at[1] - ((11 * k) % 23) / 11.5 + 0.95) ** 2)));
    const all = likely.reduce((sum, value) => sum + value);
    likely.forEach((value, k) => (masks[k * area + i] = value / all));
    for (const axis of [0, 1]) {
      let sum = at[axis] + meanFlow[axis];
      for (let k = 0; k < keypoints; k++) sum += (likely[k + 1] / all) * (then[2 * k + axis] - now[2 * k + axis]);
      flow[axis * area + i] = sum;
    }
  }
  return { flow, masks };
}

const motionOf = (x, y, turn) => {
  const driving = vector(3);
  driving[0] += turn;
  driving.set([0.55, 0.05 - (x + (x > 0 ? 2 : 0)) / 128, -0.15 - y / 128], 3);
  return driving;
};
const layout = { keypoints, features, face: guided.length, body };

test("between two runs of the network the flow follows the keypoints as the daemon's does", async () => {
  const source = motionOf(0, 0, 0);
  let runs = 0;
  const followed = new FollowedSurface(async (driving) => {
    runs += 1;
    const { flow, masks } = surfaceOf(source, driving);
    return Float32Array.from([...flow, ...masks]);
  }, layout);
  for (const [i, { turn, x, runs: asked, flow }] of golden.followed.entries()) {
    const driving = motionOf(x, 0, turn);
    [x / 64, -x / 128, x / 50, turn].forEach((value, k) => (driving[BACKGROUND + k] += value));
    for (let k = 0; k < 128; k++) driving[driving.length - 128 + k] += 0.01 * (k % 5);
    const found = await followed.of(driving, keypointTransforms({ canonical: canonical(1), motion: source, layout }, driving));
    near(found.flow.filter((_, k) => k % 97 === 0), flow, 1e-4, `flow, step ${i}`);
    assert.equal(runs, asked, `step ${i}`);
  }
});

test("keypoints and residual flow are found where the daemon finds them", () => {
  const source = motionOf(0, 0, 0);
  const background = surfaceOf(source, source).masks;
  const person = Float32Array.from({ length: 128 * 128 }, (_, i) => 1 - background[(i >> 8) * 64 + ((i % 128) >> 1)]);
  const reference = new AlignmentReference(canonical(1), source, layout, new GreyPyramid(surroundings(0, 0, false, 0)), person);
  let before = null;
  golden.alignment.forEach(({ crop, turn, correction, residual_flow: residualFlow, residual }, i) => {
    const driving = motionOf(crop[0], crop[1], turn);
    const start = before === null ? driving : aligned(driving, before);
    const transforms = keypointTransforms(reference, start);
    before = align(reference, surfaceOf(source, start), transforms, driving, new GreyPyramid(surroundings(...crop)), before);
    near(before.correction, correction, 1e-4, `keypoints, step ${i}`);
    near(before.residualFlow, residualFlow, 1e-4, `residual flow, step ${i}`);
    near(before.residual.filter((_, k) => k % 397 === 0), residual, 0.02, `residual, step ${i}`);
  });
});
