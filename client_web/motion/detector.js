// @ts-check
/** Faces in a whole frame: what the detector's network says, read (`model/landmarks/detector.py`). */
import { regionAround, sample, toFrame, wholeRegion } from "./region.js";

/** @typedef {import("./region.js").Frame} Frame */
/** @typedef {import("./region.js").Region} Region */
/**
 * @typedef {(...inputs: Float32Array<ArrayBuffer>[]) => Promise<Float32Array<ArrayBuffer>>} Network its inputs, most often a picture
 *   (3, side, side) in [0, 1], to its answer
 */

/**
 * @typedef {object} Face pixels of the frame
 * @property {number} x centre of its box, from the eyebrows to the chin
 * @property {number} y
 * @property {number} width
 * @property {number} height
 * @property {number[]} eyes x and y of the eye at the left of a frontal picture, then of the other
 * @property {number} score in [0.4, 1]
 */

const SIDE = 128;
const VALUES = 17;
const LEAST_SCORE = 0.4;
/** A face that ends a search, and one that counts as another person. */
export const SURE = 0.6;
/** Intersection over union from which two boxes are one face. */
const SAME = 0.3;

/** Centres of the anchors in sides of the picture, x and y. */
const ANCHORS = [
  [16, 2],
  [8, 6],
].flatMap(([side, count]) =>
  Array.from({ length: side * side }, (_, cell) => [((cell % side) + 0.5) / side, (Math.floor(cell / side) + 0.5) / side]).flatMap((centre) =>
    Array.from({ length: count }, () => centre),
  ),
);

/**
 * The square that the landmark network is to see.
 * @param {Face} face
 * @returns {Region}
 */
export function regionOfFace({ x, y, width, height, eyes }) {
  return regionAround(x, y, Math.max(width, height), eyes);
}

/**
 * Faces of a frame, the most certain first.
 * @param {Network} network
 * @param {Frame} frame
 * @param {Region} [region] where to look; by default in all of the frame
 * @returns {Promise<Face[]>}
 */
export async function detect(network, frame, region = wholeRegion(frame)) {
  const output = await network(sample(region, frame, SIDE, "zeros"));
  return facesOf(output).map(({ box, score }) => {
    const [x, y] = toFrame(region, box[0], box[1]);
    const eyes = [...toFrame(region, box[4], box[5]), ...toFrame(region, box[6], box[7])];
    return { x, y, width: box[2] * region.side, height: box[3] * region.side, eyes, score };
  });
}

/**
 * In the whole frame and, while nothing is found for sure, in smaller squares that overlap by half.
 * @param {Network} network
 * @param {Frame} frame
 * @returns {Promise<Face[]>}
 */
export async function search(network, frame) {
  const { width, height } = frame;
  let faces = await detect(network, frame);
  for (const side of [Math.min(width, height), Math.min(width, height) / 2]) {
    if (side >= Math.max(width, height) || faces.some(({ score }) => score >= SURE)) continue;
    for (const y of centres(height, side)) {
      for (const x of centres(width, side)) faces = [...faces, ...(await detect(network, frame, { x, y, side, angle: 0 }))];
    }
    faces = distinct(faces);
  }
  return faces;
}

/**
 * Of squares that cover a length and overlap by half at least.
 * @param {number} length
 * @param {number} side
 */
function centres(length, side) {
  const count = Math.ceil(2 * (length / side - 1)) + 1;
  return Array.from({ length: count }, (_, i) => side / 2 + (count > 1 ? (i * (length - side)) / (count - 1) : 0));
}

/**
 * The most certain one of each that was found in several squares.
 * @param {Face[]} faces
 */
function distinct(faces) {
  /** @type {Face[]} */
  const found = [];
  for (const face of [...faces].sort((a, b) => b.score - a.score)) {
    const box = [face.x, face.y, face.width, face.height];
    if (!found.some((other) => overlap([other.x, other.y, other.width, other.height], box) > SAME)) found.push(face);
  }
  return found;
}

/**
 * The detector's (896, 17) as faces: centre, size and six keypoints in sides of the picture, and the score. Overlapping boxes are
 * one face, their mean weighted by their scores.
 * @param {Float32Array} output
 * @returns {{box: number[], score: number}[]}
 */
export function facesOf(output) {
  let boxes = ANCHORS.map((centre, anchor) => {
    const values = output.subarray(VALUES * anchor, VALUES * (anchor + 1));
    const score = 1 / (1 + Math.exp(-Math.min(100, Math.max(-100, values[0]))));
    return { centre, values, score };
  })
    .filter(({ score }) => score >= LEAST_SCORE)
    .sort((a, b) => b.score - a.score)
    .map(({ centre, values, score }) => ({
      box: Array.from(values.subarray(1), (value, i) => value / SIDE + (i === 2 || i === 3 ? 0 : centre[i % 2])),
      score,
    }));
  const found = [];
  while (boxes.length > 0) {
    const first = boxes[0];
    const same = boxes.filter((other) => other === first || overlap(other.box, first.box) > SAME);
    const weight = same.reduce((sum, { score }) => sum + score, 0);
    found.push({ box: first.box.map((_, i) => same.reduce((sum, { box, score }) => sum + score * box[i], 0) / weight), score: first.score });
    boxes = boxes.filter((other) => !same.includes(other));
  }
  return found;
}

/**
 * Intersection over union of two boxes, each centre and size.
 * @param {number[]} a
 * @param {number[]} b
 */
function overlap(a, b) {
  const common = [0, 1].map((i) => {
    const low = Math.max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2);
    return Math.max(0, Math.min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - low);
  });
  const both = common[0] * common[1];
  const union = a[2] * a[3] + b[2] * b[3] - both;
  return union > 0 ? both / union : 0;
}
