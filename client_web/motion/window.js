// @ts-check
/**
 * Windows: small pictures of a person's mouth or eyes beside a source image, which does not show all of them (`model/window/`). What
 * both kinds share: slots, limits, coordinates and how their pictures are cut.
 *
 * Coordinates are those of two corners, of a mouth or of an eye, which lie at u = -1 and u = 1; v is perpendicular to the line between
 * them, down, in that unit. Pure.
 */
import { placed } from "./motion.js";

/** @typedef {import("./region.js").Frame} Frame */

/** Of one; they take 0.3 to 1 kB. */
export const MAX_WINDOW_BYTES = 4096;
/** Each kind has slots of its own beside one source image: mouths the first ones, eyes those after. */
export const MOUTH_SLOTS = Array.from({ length: 48 }, (_, i) => i);
export const EYE_SLOTS = Array.from({ length: 12 }, (_, i) => MOUTH_SLOTS.length + i);
/** Step of coordinates as they travel. */
export const UNIT = 1 / 48;
/** From there on coordinates do not travel. */
const FURTHEST = 127 * UNIT;

/**
 * Keypoints in crop units, x and y of each.
 * @param {number[]} landmarks by which they are named
 * @param {ArrayLike<number>} canonical
 * @param {Float32Array} motion
 * @param {number[]} guided which landmark each keypoint of the face is
 * @returns {number[]}
 */
export function keypointsOf(landmarks, canonical, motion, guided) {
  const points = placed(canonical, motion, guided.length);
  return landmarks.flatMap((landmark) => {
    const i = 2 * guided.indexOf(landmark);
    return [points[i], points[i + 1]];
  });
}

/**
 * Keypoints of a picture (K, 2), the corners first, in coordinates of the corners.
 * @param {number[]} points
 * @returns {number[]}
 */
export function cornerCoordinates(points) {
  const { place, axis } = between(points);
  const square = Math.max(axis[0] ** 2 + axis[1] ** 2, 1e-8);
  const found = [];
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = [points[i] - place[0], points[i + 1] - place[1]];
    found.push((x * axis[0] + y * axis[1]) / square, (y * axis[0] - x * axis[1]) / square);
  }
  return found;
}

/**
 * Whether a window can be cut at keypoints (K, 2), the corners first, in crop units: wholly in the crop, and large enough.
 * @param {number[]} points
 * @param {number} leastWidth crop units between the corners
 */
export function cuttable(points, leastWidth) {
  const near = cornerCoordinates(points).every((value) => Math.abs(value) < FURTHEST);
  return near && points.every((value) => Math.abs(value) < 1) && 2 * halfWidth(points) >= leastWidth;
}

/**
 * Middle between two corners, and half the way from one to the other.
 * @param {number[]} points the corners first
 */
export function between([x0, y0, x1, y1]) {
  return { place: [(x0 + x1) / 2, (y0 + y1) / 2], axis: [(x1 - x0) / 2, (y1 - y0) / 2] };
}

/**
 * Half of the way from one corner to the other, crop units.
 * @param {number[]} points the corners first
 */
function halfWidth(points) {
  return Math.hypot(...between(points).axis);
}

/**
 * Squares of a picture side by side, each upright in coordinates of its two corners.
 * @param {Frame} picture square
 * @param {number[][]} features keypoints in crop units that each shows, its corners first
 * @param {{middle: number, half: number}} extent v of a square's middle, whose u is 0, and half of its side
 * @param {{least: number, largest: number}} sides of a square, pixels
 * @returns {Frame}
 */
export function cutSquares(picture, features, { middle, half }, { least, largest }) {
  const pixels = Math.max(...features.map(halfWidth)) * picture.width * half;
  const side = Math.min(Math.max(8 * Math.ceil(pixels / 8), least), largest);
  const width = features.length * side;
  const data = new Uint8ClampedArray(4 * width * side);
  features.forEach((points, feature) => {
    const { place, axis } = between(points);
    // Pixel (x, y) of the square lies at u = half (2 x / W - 1), v = middle + half (2 y / W - 1); and crop units are
    // place + u axis + v (axis turned by a right angle).
    const step = (half * picture.width) / side;
    const down = [-axis[1], axis[0]];
    const corner = [0, 1].map((i) => ((place[i] - half * axis[i] + (middle - half) * down[i] + 1) * picture.width) / 2);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const [u, v] = [(x + 0.5) * step, (y + 0.5) * step];
        const at = 4 * (y * width + feature * side + x);
        readPixel(picture, corner[0] + u * axis[0] + v * down[0], corner[1] + u * axis[1] + v * down[1], data, at);
      }
    }
  });
  return { width, height: side, data };
}

const across = new Float64Array(4);
const along = new Float64Array(4);

/**
 * A place of a picture, bicubic; opaque black beyond its edge.
 * @param {Frame} picture
 * @param {number} x pixels from its corner
 * @param {number} y
 * @param {Uint8ClampedArray} found
 * @param {number} at
 */
function readPixel({ width, height, data }, x, y, found, at) {
  found[at + 3] = 255;
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  const [left, top] = [Math.floor(x - 0.5), Math.floor(y - 0.5)];
  weigh(x - 0.5 - left, across);
  weigh(y - 0.5 - top, along);
  for (let channel = 0; channel < 3; channel++) {
    let sum = 0;
    for (let row = 0; row < 4; row++) {
      const line = Math.min(Math.max(top - 1 + row, 0), height - 1) * width;
      for (let column = 0; column < 4; column++) {
        sum += along[row] * across[column] * data[4 * (line + Math.min(Math.max(left - 1 + column, 0), width - 1)) + channel];
      }
    }
    found[at + channel] = Math.floor(sum + 1e-9); // Pillow cuts the fraction off
  }
}

/**
 * Weights of four pixels in a row for a place `part` of the way from the second to the third: Keys's cubic with a = -1, as Pillow's
 * transforms have it.
 * @param {number} part
 * @param {Float64Array} weights
 */
function weigh(part, weights) {
  const other = 1 - part;
  weights[0] = -part * other * other;
  weights[1] = other * (1 + part - part * part);
  weights[2] = part * (1 + other - other * other);
  weights[3] = -other * part * part;
}
