// @ts-check
/**
 * Eye windows: where the keypoints of both eyes are, how two eyes differ, what a window shows (`model/window/eyes.py`): both eyes side by
 * side, each upright in its own coordinates. Pure.
 */
import { between, cornerCoordinates, cutSquares, cuttable, keypointsOf, UNIT } from "./window.js";

/**
 * @typedef {import("./region.js").Frame} Frame
 *
 * @typedef {object} EyeWindow coordinates in steps of `UNIT`, as they travel
 * @property {Frame} picture twice as wide as high, the eye left of the picture first
 * @property {number[]} lids u and v of upper lid, lower lid and iris, of one eye after the other
 */

/** Of either eye, left of the picture first: left and right corner, upper and lower lid, iris, by landmark. */
const EYES = [33, 133, 159, 145, 468, 362, 263, 386, 374, 473];
/** Half of the side of an eye's picture, eye coordinates: lashes and the fold above the lid are in it, brows are not. */
const HALF = 1.6;
const SIDES = { least: 24, largest: 64 };
const LEAST_WIDTH = 0.06; // crop units between the corners: 8 pixels of 256
/** What u and v of upper lid, lower lid and iris count. */
const WEIGHTS = [0.3, 1, 0.3, 1, 0.7, 0.7];
const KEYPOINTS = WEIGHTS.length / 2;

/**
 * Keypoints of both eyes in crop units, (2, 5, 2).
 * @param {ArrayLike<number>} canonical
 * @param {Float32Array} motion
 * @param {number[]} guided which landmark each keypoint of the face is
 */
export function eyePoints(canonical, motion, guided) {
  return keypointsOf(EYES, canonical, motion, guided);
}

/**
 * Either eye, (5, 2), of both, (2, 5, 2).
 * @param {number[]} both
 */
export function eachEye(both) {
  return [both.slice(0, both.length / 2), both.slice(both.length / 2)];
}

/**
 * Keypoints of a picture (2, 5, 2), each eye's in its own coordinates.
 * @param {number[]} points
 */
export function eyeCoordinates(points) {
  return eachEye(points).flatMap(cornerCoordinates);
}

/**
 * Whether a window can be cut at keypoints (2, 5, 2) in crop units.
 * @param {number[]} points
 */
export function eyesUsable(points) {
  return eachEye(points).every((eye) => cuttable(eye, LEAST_WIDTH) && wholly(eye));
}

/**
 * Whether an eye's picture lies within the crop.
 * @param {number[]} eye
 */
function wholly(eye) {
  const { place, axis } = between(eye);
  const reach = HALF * (Math.abs(axis[0]) + Math.abs(axis[1]));
  return place.every((value) => Math.abs(value) + reach < 1);
}

/**
 * How differently two pairs of eyes are opened and look, of eye coordinates (2, 5, 2) each; 0: alike. Mean of the left and the right eye.
 * @param {number[]} a
 * @param {number[]} b
 */
export function eyeDistance(a, b) {
  const [one, other] = [eachEye(a), eachEye(b)];
  return (lidDistance(one[0], other[0]) + lidDistance(one[1], other[1])) / 2;
}

/**
 * @param {number[]} a eye coordinates (5, 2)
 * @param {number[]} b
 */
function lidDistance(a, b) {
  const first = a.length - WEIGHTS.length; // the corners are where they are
  const square = WEIGHTS.reduce((sum, weight, i) => sum + weight * (a[first + i] - b[first + i]) ** 2, 0);
  return Math.sqrt(square / KEYPOINTS);
}

/**
 * The window on both eyes in a crop whose keypoints (2, 5, 2), crop units, are `eyesUsable`.
 * @param {Frame} picture square
 * @param {number[]} points
 * @returns {EyeWindow}
 */
export function cutEyes(picture, points) {
  const eyes = eachEye(points);
  const lids = eyes.flatMap((eye) => cornerCoordinates(eye).slice(4)).map((value) => Math.round(value / UNIT));
  return { picture: cutSquares(picture, eyes, { middle: 0, half: HALF }, SIDES), lids };
}
