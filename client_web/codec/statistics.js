// @ts-check
/** What the codec knows about motion before a call: basis, units and widths, which travel in the weights file. */

/** Scalars before the deformation: yaw, pitch, roll, scale, t_x, t_y, t_z, and x, y, log size and roll of the background. */
export const POSE_SCALARS = 11;

/** Upper bounds in milliseconds of the elapsed times that share a row of widths; the next row is for longer ones. */
const ELAPSED_MS = [25, 50, 90, 160, 280, 500, 900];

/** Row of widths of frames without a reference. */
export const INTRA = 8;

/**
 * @param {number} elapsedMs since the reference
 * @returns {number}
 */
export function elapsedRow(elapsedMs) {
  const row = ELAPSED_MS.findIndex((bound) => elapsedMs <= bound);
  return row < 0 ? ELAPSED_MS.length : row;
}

/** Transform and widths of motion vectors with N scalars. */
export class MotionStatistics {
  /**
   * @param {{mean: ArrayLike<number>, importance: ArrayLike<number>, units: ArrayLike<number>, widths: ArrayLike<number>,
   *   basis: ArrayLike<number> | null}} arrays (N), (N - 11), (N), (9, N) row by row, and (N - 11, N - 11) row by row, column
   *   i being coefficient i; null: the identity
   */
  constructor({ mean, importance, units, widths, basis }) {
    this.size = mean.length;
    const deformation = this.size - POSE_SCALARS;
    if (importance.length !== deformation || units.length !== this.size || widths.length !== 9 * this.size) {
      throw new RangeError("codec statistics disagree about the number of scalars");
    }
    if (basis !== null && basis.length !== deformation * deformation) throw new RangeError("the codec's basis is not square");
    this.mean = Float64Array.from(mean);
    this.importance = Float64Array.from(importance);
    this.units = Float64Array.from(units);
    this.widths = Int32Array.from(widths);
    this.basis = basis === null ? null : Float64Array.from(basis);
  }

  /**
   * @param {ArrayLike<number>} vector (N)
   * @returns {Float64Array} coefficients in units
   */
  toCoefficients(vector) {
    const { size, mean, importance, units, basis } = this;
    const found = Float64Array.from(vector, (value, i) => value - mean[i]);
    const count = size - POSE_SCALARS;
    const weighted = found.subarray(POSE_SCALARS).map((value, i) => value * importance[i]);
    if (basis === null) found.set(weighted, POSE_SCALARS);
    else {
      found.fill(0, POSE_SCALARS);
      for (let row = 0; row < count; row++) {
        const value = weighted[row];
        if (value === 0) continue;
        const start = row * count;
        for (let column = 0; column < count; column++) found[POSE_SCALARS + column] += value * basis[start + column];
      }
    }
    for (let i = 0; i < size; i++) found[i] /= units[i];
    return found;
  }

  /**
   * @param {ArrayLike<number>} coefficients in units
   * @returns {Float32Array} vector (N)
   */
  toVector(coefficients) {
    const { size, mean, importance, units, basis } = this;
    const scaled = Float64Array.from(coefficients, (value, i) => value * units[i]);
    const count = size - POSE_SCALARS;
    const vector = new Float32Array(size);
    for (let i = 0; i < POSE_SCALARS; i++) vector[i] = scaled[i] + mean[i];
    for (let row = 0; row < count; row++) {
      let sum = basis === null ? scaled[POSE_SCALARS + row] : 0;
      if (basis !== null) for (let column = 0; column < count; column++) sum += basis[row * count + column] * scaled[POSE_SCALARS + column];
      vector[POSE_SCALARS + row] = sum / importance[row] + mean[POSE_SCALARS + row];
    }
    return vector;
  }
}
