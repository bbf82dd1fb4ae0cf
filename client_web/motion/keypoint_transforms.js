// @ts-check
/**
 * Keypoints of a source image and a driving frame, and how displacements of the one become those of the other (`KeypointTransforms` of
 * `model/networks/small/dense_motion.py`). Head and body each have a map; the background has a place of its own. Pure.
 */
import { BACKGROUND, placed, rotationOf } from "./motion.js";

/**
 * @typedef {import("./alignment.js").Layout} Layout
 *
 * @typedef {object} KeypointTransforms
 * @property {number[]} driving (K, 3) keypoints of the driving frame
 * @property {number[]} head (2, 3) how displacements of the head become those in the source image
 * @property {number[]} body (2, 2) the same of the body
 * @property {number[]} offset (K, 2) where a keypoint is in the source image, less where its map takes it
 * @property {number[]} background (2, 3) where the background at a place was in the source image
 */

/**
 * @param {{canonical: Float32Array, motion: Float32Array, layout: Layout}} source
 * @param {Float32Array} driving motion
 * @returns {KeypointTransforms}
 */
export function keypointTransforms({ canonical, motion, layout }, driving) {
  const { keypoints } = layout;
  const heads = keypoints - layout.body;
  const [s, d] = [rotationOf(motion), rotationOf(driving)];
  const factor = motion[3] / driving[3];
  const entry = (/** @type {number} */ row, /** @type {number} */ column) =>
    factor * (s[3 * row] * d[3 * column] + s[3 * row + 1] * d[3 * column + 1] + s[3 * row + 2] * d[3 * column + 2]);
  const head = [entry(0, 0), entry(0, 1), entry(0, 2), entry(1, 0), entry(1, 1), entry(1, 2)];
  const then = placed(canonical, motion, keypoints);
  const now = placed(canonical, driving, keypoints, 3);
  const flat = Array.from({ length: 2 * layout.body }, (_, i) => now[3 * (heads + (i >> 1)) + (i % 2)]);
  const [c, b] = similarity(flat, then.slice(2 * heads));
  const body = [c, -b, b, c];
  const offset = then.map((place, i) => {
    const [k, axis] = [i >> 1, i % 2];
    const [x, y, z] = [now[3 * k], now[3 * k + 1], now[3 * k + 2]];
    return place - (k < heads ? head[3 * axis] * x + head[3 * axis + 1] * y + head[3 * axis + 2] * z : body[2 * axis] * x + body[2 * axis + 1] * y);
  });
  return { driving: now, head, body, offset, background: backgroundOf(motion, driving) };
}

/**
 * How points turn and scale to lie onto others, least squares: c and s of [[c, -s], [s, c]].
 * @param {number[]} points x and y of each
 * @param {number[]} onto
 */
function similarity(points, onto) {
  if (points.length < 4) return [1, 0];
  const centred = (/** @type {number[]} */ all) => {
    const mean = [0, 1].map((axis) => (2 * all.reduce((sum, value, i) => sum + (i % 2 === axis ? value : 0), 0)) / all.length);
    return all.map((value, i) => value - mean[i % 2]);
  };
  const [p, q] = [centred(points), centred(onto)];
  let [spread, c, s] = [0, 0, 0];
  for (let i = 0; i < p.length; i += 2) {
    spread += p[i] ** 2 + p[i + 1] ** 2;
    c += p[i] * q[i] + p[i + 1] * q[i + 1];
    s += p[i] * q[i + 1] - p[i + 1] * q[i];
  }
  spread = Math.max(spread, 1e-3);
  return [Math.min(Math.max(c / spread, 0.5), 2), Math.min(Math.max(s / spread, -0.5), 0.5)];
}

/**
 * Takes places of the driving frame's background to the source image's: two rows of a matrix and a shift.
 * @param {Float32Array} source motion
 * @param {Float32Array} driving motion
 */
function backgroundOf(source, driving) {
  const [now, then] = [source.subarray(BACKGROUND), driving.subarray(BACKGROUND)]; // x, y, log size, roll
  const angle = ((now[3] - then[3]) * Math.PI) / 180;
  const factor = Math.exp(now[2] - then[2]);
  const [c, s] = [factor * Math.cos(angle), factor * Math.sin(angle)];
  return [c, -s, now[0] - (c * then[0] - s * then[1]), s, c, now[1] - (s * then[0] + c * then[1])];
}
