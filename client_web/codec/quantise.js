// @ts-check
/** Motion coefficients to integer levels and back; levels at another step, in integers (docs/protocol.md, "Levels"). */

export const MIN_STEP_INDEX = -24;
export const MAX_STEP_INDEX = 24;
export const MAX_LEVEL = 32767;

/** A coefficient within this many steps of its last level keeps it: what lies between two levels must not tremble. */
const DEAD_ZONE = 0.6;

/** round(65536 * 2^(i / 4)) */
const ROOTS = [65536, 77936, 92682, 110218];

/** @param {number} stepIndex */
export function stepFactor(stepIndex) {
  return 2 ** (stepIndex / 4);
}

/**
 * @param {Float64Array} coefficients in units
 * @param {number} stepIndex
 * @param {readonly Int32Array[]} anchors levels at the same step that are kept where they are near enough, the most wanted first
 * @returns {Int32Array}
 */
export function quantise(coefficients, stepIndex, anchors) {
  const factor = stepFactor(stepIndex);
  return Int32Array.from(coefficients, (coefficient, i) => {
    const scaled = Math.min(MAX_LEVEL, Math.max(-MAX_LEVEL, coefficient / factor));
    for (const anchor of anchors) if (Math.abs(scaled - anchor[i]) <= DEAD_ZONE) return anchor[i];
    return roundEven(scaled);
  });
}

/**
 * To the nearest whole number, halves to the even one.
 * @param {number} value
 */
function roundEven(value) {
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
