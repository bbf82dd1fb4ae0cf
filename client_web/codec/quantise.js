// @ts-check
/** Motion coefficients to integer levels and back; levels at another step, in integers (docs/protocol.md, "Levels"). */

export const MIN_STEP_INDEX = -24;
export const MAX_STEP_INDEX = 24;
export const MAX_LEVEL = 32767;

/** A coefficient within this many steps of its predicted level is expected to keep it. */
const DEAD_ZONE = 0.75;

/** round(65536 * 2^(i / 4)) */
const ROOTS = [65536, 77936, 92682, 110218];

/** @param {number} stepIndex */
export function stepFactor(stepIndex) {
  return 2 ** (stepIndex / 4);
}

/**
 * @param {Float64Array} coefficients in units
 * @param {number} stepIndex
 * @returns {Float64Array} what the nearest levels would be before rounding, within the range of levels
 */
export function scaled(coefficients, stepIndex) {
  const factor = stepFactor(stepIndex);
  return coefficients.map((coefficient) => Math.min(MAX_LEVEL, Math.max(-MAX_LEVEL, coefficient / factor)));
}

/**
 * @param {number} steps a coefficient in steps
 * @param {number} anchor a level that is kept where it is near enough
 */
export function quantise(steps, anchor) {
  return Math.abs(steps - anchor) <= DEAD_ZONE ? anchor : roundEven(steps);
}

/**
 * To the nearest whole number, halves to the even one.
 * @param {number} value
 */
export function roundEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/**
 * @param {Int32Array} levels
 * @param {number} from step index that they have
 * @param {number} to step index that they are to have
 * @returns {Int32Array} halves are rounded away from zero
 */
export function rescale(levels, from, to) {
  if (from === to) return levels;
  const octaves = Math.floor((from - to) / 4);
  const root = ROOTS[from - to - 4 * octaves];
  const unit = 2 ** (16 - octaves);
  return levels.map((level) => {
    const magnitude = Math.min(MAX_LEVEL, Math.floor((Math.abs(level) * root + unit / 2) / unit));
    return level < 0 ? -magnitude : magnitude;
  });
}
