// @ts-check
/** Mouth windows: where a mouth's keypoints are, how two mouths differ, what a window shows (`model/window/mouth.py`). Pure. */
import { cornerCoordinates, cutSquares, cuttable, keypointsOf, UNIT } from "./window.js";

/**
 * @typedef {import("./region.js").Frame} Frame
 *
 * @typedef {object} MouthWindow coordinates in steps of `UNIT`, as they travel
 * @property {Frame} picture square
 * @property {number[]} lips u and v of all keypoints but the corners
 * @property {number} middle v of the picture's middle; its u is 0
 * @property {number} half of its side
 */

/** Both corners; outer upper and lower lip, inner upper and lower lip; four of the outer lips between corner and middle, by landmark. */
const MOUTH = [61, 291, 0, 17, 13, 14, 40, 270, 91, 321];
const SIDES = { least: 32, largest: 96 };
const AROUND = 0.25; // mouth coordinates around the lips: skin, by which colours are matched
const LEAST_HALF = 1.25;
const LEAST_WIDTH = 0.08; // crop units between the corners: 10 pixels of 256

/**
 * Keypoints of the mouth in crop units, (10, 2).
 * @param {ArrayLike<number>} canonical
 * @param {Float32Array} motion
 * @param {number[]} guided which landmark each keypoint of the face is
 */
export function mouthPoints(canonical, motion, guided) {
  return keypointsOf(MOUTH, canonical, motion, guided);
}

/**
 * Whether a window can be cut at keypoints (10, 2) in crop units.
 * @param {number[]} points
 */
export function mouthUsable(points) {
  return cuttable(points, LEAST_WIDTH);
}

/**
 * How differently two mouths are opened, of mouth coordinates (10, 2) each; 0: alike. Root of the mean square of what a similarity
 * leaves of their difference, in half widths of the second mouth.
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 */
export function shapeDistance(a, b) {
  const count = a.length / 2;
  let [ax, ay, bx, by] = [0, 0, 0, 0];
  for (let i = 0; i < 2 * count; i += 2) {
    ax += a[i] / count;
    ay += a[i + 1] / count;
    bx += b[i] / count;
    by += b[i + 1] / count;
  }
  // As complex numbers p and q: the best factor is p* q / p* p, and what it leaves of q is q* q - |p* q|^2 / p* p.
  let [real, imaginary, pp, qq] = [0, 0, 0, 0];
  for (let i = 0; i < 2 * count; i += 2) {
    const [px, py, qx, qy] = [a[i] - ax, a[i + 1] - ay, b[i] - bx, b[i + 1] - by];
    real += px * qx + py * qy;
    imaginary += px * qy - py * qx;
    pp += px * px + py * py;
    qq += qx * qx + qy * qy;
  }
  const left = qq - (real * real + imaginary * imaginary) / Math.max(pp, 1e-9);
  return Math.sqrt(Math.max(left, 0) / count);
}

/**
 * The window on a mouth in a crop whose keypoints (10, 2), crop units, are `mouthUsable`.
 * @param {Frame} picture square
 * @param {number[]} points
 * @returns {MouthWindow}
 */
export function cutMouth(picture, points) {
  const lips = cornerCoordinates(points)
    .slice(4)
    .map((value) => Math.round(value / UNIT));
  const heights = lips.filter((_, i) => i % 2 === 1);
  const [low, high] = [Math.min(0, ...heights), Math.max(0, ...heights)];
  const middle = Math.round((low + high) / 2);
  const half = Math.min(255, Math.round(Math.max(LEAST_HALF / UNIT, (high - low) / 2 + AROUND / UNIT)));
  const extent = { middle: middle * UNIT, half: half * UNIT };
  return { picture: cutSquares(picture, [points], extent, SIDES), lips, middle, half };
}
