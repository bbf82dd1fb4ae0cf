// @ts-check
/** Planes of numbers read between their pixels; places in crop units, pixel i of n at (2 i + 1) / n - 1. Pure. */

/**
 * Crop units of the middle of a pixel.
 * @param {number} pixel
 * @param {number} side
 */
export function unit(pixel, side) {
  return (2 * pixel + 1) / side - 1;
}

/**
 * The four pixels around a place and their weights; beyond the border the border goes on.
 * @param {number} x crop units
 * @param {number} y
 * @param {number} side
 * @param {{cells: Int32Array, weights: Float64Array}} found
 */
export function around(x, y, side, { cells, weights }) {
  const u = Math.min(Math.max(((x + 1) * side - 1) / 2, 0), side - 1);
  const v = Math.min(Math.max(((y + 1) * side - 1) / 2, 0), side - 1);
  const [left, top] = [Math.floor(u), Math.floor(v)];
  const [fx, fy] = [u - left, v - top];
  const [right, below] = [Math.min(left + 1, side - 1), Math.min(top + 1, side - 1)];
  cells[0] = top * side + left;
  cells[1] = top * side + right;
  cells[2] = below * side + left;
  cells[3] = below * side + right;
  weights[0] = (1 - fx) * (1 - fy);
  weights[1] = fx * (1 - fy);
  weights[2] = (1 - fx) * fy;
  weights[3] = fx * fy;
}

export function cornersOfPlace() {
  return { cells: new Int32Array(4), weights: new Float64Array(4) };
}

/**
 * A plane there; `offset` values of other planes lie before it.
 * @param {ArrayLike<number>} plane
 * @param {{cells: Int32Array, weights: Float64Array}} place
 * @param {number} [offset]
 */
export function read(plane, { cells, weights }, offset = 0) {
  return weights[0] * plane[offset + cells[0]] + weights[1] * plane[offset + cells[1]] + weights[2] * plane[offset + cells[2]] + weights[3] * plane[offset + cells[3]];
}
