// @ts-check
/** What is known of keypoints and residual flow before a frame is seen (`model/registration/keypoints.py`). Pure. */
import { inverse } from "./matrix.js";

/** Of an error's variance, what keypoints beside each other have in common, and how near that is, crop units. */
const SHARED = 0.5;
const BESIDE = 0.35;

/**
 * Inverse covariance of errors with these sigmas: neighbours err alike.
 * @param {number[]} points x and y of each
 * @param {Float64Array} sigma
 */
export function precisionOf(points, sigma) {
  const size = sigma.length;
  const covariance = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < size; k++) {
      const square = (points[2 * i] - points[2 * k]) ** 2 + (points[2 * i + 1] - points[2 * k + 1]) ** 2;
      covariance[i * size + k] = sigma[i] * sigma[k] * (SHARED * Math.exp(-square / (2 * BESIDE ** 2)) + (i === k ? 1 - SHARED : 0));
    }
  }
  return inverse(covariance, size);
}

/**
 * Precision of keypoints and residual flow in one matrix.
 * @param {Float64Array} keypoints
 * @param {Float64Array} residualFlow
 */
export function joined(keypoints, residualFlow) {
  const [k, f] = [Math.sqrt(keypoints.length), Math.sqrt(residualFlow.length)];
  const size = k + f;
  const found = new Float64Array(size * size);
  for (let i = 0; i < k; i++) found.set(keypoints.subarray(i * k, (i + 1) * k), i * size);
  for (let i = 0; i < f; i++) found.set(residualFlow.subarray(i * f, (i + 1) * f), (k + i) * size + k);
  return found;
}
