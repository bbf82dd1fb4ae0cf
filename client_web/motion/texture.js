// @ts-check
/**
 * Textures of eyes: their pictures moved onto one shape, so that they can be compared (`model/source/texture.py`). Pure: knows pictures and
 * keypoints.
 */
import { inverseOfAny, times } from "./matrix.js";
import { around, cornersOfPlace } from "./sampling.js";
import { between, cornerCoordinates } from "./window.js";

/** @typedef {import("./region.js").Frame} Frame */

const STIFF = 0.005; // of the spline: closed lids put two keypoints in one place
const DARKEST = 1; // of 255: a face without light

/** Takes textures of one feature, whose first two keypoints are its corners. All in coordinates of these. */
export class TextureMap {
  /**
   * @param {number[][]} shape (K, 2) keypoints of the feature as textures have it
   * @param {number[][]} staying (A, 2) places that no expression moves
   * @param {{left: number, top: number, right: number, bottom: number}} extent of a texture
   * @param {{columns: number, rows: number}} size of it
   */
  constructor(shape, staying, { left, top, right, bottom }, { columns, rows }) {
    const known = [...shape, ...staying];
    this.staying = staying.flat();
    this.size = columns * rows;
    const spline = inverseOfAny(splineSystem(known), known.length + 3);
    /** What each known place counts for each place of a texture. @type {Float64Array[]} */
    this.places = Array.from({ length: this.size }, (_, i) => {
      const u = left + ((right - left) * (i % columns)) / (columns - 1);
      const v = top + ((bottom - top) * Math.floor(i / columns)) / (rows - 1);
      // The system is symmetric, and so is its inverse.
      return times(spline, [...known.map((one) => bend([u, v], one)), 1, u, v]).subarray(0, known.length);
    });
  }

  /**
   * Texture (size,): grey as a multiple of its mean. Beyond the crop its border goes on.
   * @param {Frame} crop square
   * @param {number[]} points (K, 2) keypoints in crop units
   * @returns {Float64Array}
   */
  texture({ width: side, data }, points) {
    const known = [...cornerCoordinates(points), ...this.staying];
    const { place, axis } = between(points);
    const at = cornersOfPlace();
    const grey = Float64Array.from(this.places, (weights) => {
      let [u, v] = [0, 0];
      for (let i = 0; i < weights.length; i++) {
        u += weights[i] * known[2 * i];
        v += weights[i] * known[2 * i + 1];
      }
      around(place[0] + u * axis[0] - v * axis[1], place[1] + u * axis[1] + v * axis[0], side, at);
      let sum = 0;
      at.cells.forEach((cell, i) => (sum += at.weights[i] * (data[4 * cell] + data[4 * cell + 1] + data[4 * cell + 2])));
      return sum / 3;
    });
    const mean = grey.reduce((sum, value) => sum + value, 0) / grey.length;
    return grey.map((value) => value / Math.max(mean, DARKEST));
  }
}

/**
 * Matrix of a thin-plate spline (Bookstein 1989) through places: not positive definite.
 * @param {number[][]} known
 */
function splineSystem(known) {
  const count = known.length;
  const size = count + 3;
  const system = new Float64Array(size * size);
  known.forEach((one, i) => {
    known.forEach((other, k) => (system[i * size + k] = bend(one, other) + (i === k ? STIFF : 0)));
    [1, ...one].forEach((value, k) => {
      system[i * size + count + k] = value;
      system[(count + k) * size + i] = value;
    });
  });
  return system;
}

/**
 * @param {number[]} a
 * @param {number[]} b
 */
function bend(a, b) {
  const square = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2;
  return square * Math.log(square + 1e-6);
}

/** Of one eye with the skin up to brow and cheek, by which it is known again. */
export const EYE_AREA = new TextureMap(
  [[-1, 0], [1, 0], [0, -0.28], [0, 0.25], [0, 0]], // prettier-ignore
  [[-1.7, 0], [1.7, 0], [-0.8, -1.1], [0.8, -1.1], [-0.8, 1], [0.8, 1]], // prettier-ignore
  { left: -1.5, top: -1.2, right: 1.5, bottom: 1.1 },
  { columns: 20, rows: 14 },
);
