// @ts-check
/** One frame of levels to symbols and back: prediction, activity class, capture interval (docs/protocol.md, "Payload"). */
import { COST_UNIT, cumulative, decodeLaplace, encodeLaplace, laplaceCost, MAX_WIDTH, symbolCost } from "./entropy.js";
import { BitstreamError } from "./error.js";
import { MAX_INTERVAL_MS } from "./packet.js";
import { MAX_LEVEL, quantise, rescale, roundEven, scaled } from "./quantise.js";
import { elapsedRow, INTRA } from "./statistics.js";

/** @typedef {import("./entropy.js").RangeEncoder} RangeEncoder */
/** @typedef {import("./entropy.js").RangeDecoder} RangeDecoder */
/** @typedef {import("./statistics.js").MotionStatistics} MotionStatistics */

/**
 * @typedef {object} FrameState a coded frame as both sides remember it
 * @property {number} sequence uint16
 * @property {number} captureMs uint32
 * @property {number} source
 * @property {number} stepIndex
 * @property {Int32Array} levels (N)
 */

/** Quarter octaves that each activity class adds to all widths. */
const CLASS_SHIFTS = [-9, -6, -3, 0, 3, 6, 10, 24];
const CLASS_FREQUENCIES = [3932, 3932, 8520, 17039, 18350, 9175, 3277, 1311];
const CLASS_SUMS = cumulative(CLASS_FREQUENCIES);
const CLASS_COST = CLASS_FREQUENCIES.map(symbolCost);

/** What a 256th of a bit may save in squared steps of error. */
const PRICE = 0.1 / COST_UNIT;

/** Squared steps of error that the last frame's level is allowed above any other: a level that toggles shows as trembling. */
const STILLNESS = 0.1;

const FIRST_INTERVAL_MS = 40;
const FIRST_INTERVAL_WIDTH = 28;
const INTERVAL_WIDTH = 16;

/** Codes frames of one model's motion. */
export class FrameCoder {
  /** @param {MotionStatistics} statistics */
  constructor(statistics) {
    this.statistics = statistics;
  }

  /**
   * @param {FrameState | null} reference
   * @param {number} captureMs
   * @param {number} stepIndex
   * @returns {{levels: Int32Array, widths: Int32Array}} predicted levels, and width indices before the class's shift
   */
  #prediction(reference, captureMs, stepIndex) {
    const { size, widths } = this.statistics;
    const row = reference === null ? INTRA : elapsedRow((captureMs - reference.captureMs) >>> 0);
    return {
      levels: reference === null ? new Int32Array(size) : rescale(reference.levels, reference.stepIndex, stepIndex),
      widths: widths.subarray(row * size, (row + 1) * size).map((width) => width - stepIndex),
    };
  }

  /**
   * Writes the levels of a frame.
   * @param {RangeEncoder} coder
   * @param {FrameState} frame
   * @param {FrameState | null} reference null: an intra frame
   */
  encode(coder, frame, reference) {
    const { residual, chosen, widths } = this.#choose(frame, reference);
    coder.encode(CLASS_SUMS[chosen], CLASS_SUMS[chosen + 1]);
    residual.forEach((value, i) => encodeLaplace(coder, value, shifted(widths[i], chosen)));
  }

  /**
   * About what `encode` would write.
   * @param {FrameState} frame
   * @param {FrameState | null} reference
   * @returns {number} bits
   */
  bits(frame, reference) {
    return this.#choose(frame, reference).cost / COST_UNIT;
  }

  /**
   * Levels whose error and bits together cost least: of each, the last frame's, the predicted one, the nearest, or the one next
   * to that towards the predicted one.
   * @param {Float64Array} coefficients in units
   * @param {number} captureMs
   * @param {number} stepIndex
   * @param {FrameState | null} reference what the frame will be predicted from
   * @param {FrameState | null} last the frame before
   * @returns {Int32Array}
   */
  chooseLevels(coefficients, captureMs, stepIndex, reference, last) {
    const predicted = this.#prediction(reference, captureMs, stepIndex);
    const wanted = scaled(coefficients, stepIndex);
    const guess = predicted.levels.map((level, i) => quantise(wanted[i], level) - level);
    const { chosen } = cheapestClass(guess, predicted.widths);
    const before = last === null ? null : rescale(last.levels, last.stepIndex, stepIndex);
    return predicted.levels.map((level, i) => {
      const width = shifted(predicted.widths[i], chosen);
      const cost = (/** @type {number} */ candidate) => {
        const error = wanted[i] - candidate;
        return error * error + PRICE * laplaceCost(candidate - level, width);
      };
      const nearest = roundEven(wanted[i]);
      let best = level;
      let least = cost(level);
      if (before !== null) {
        const held = cost(before[i]) - STILLNESS;
        if (held <= least) [best, least] = [before[i], held];
      }
      for (const candidate of [nearest, nearest - Math.sign(nearest - level)]) {
        const found = cost(candidate);
        if (found < least) [best, least] = [candidate, found];
      }
      return best;
    });
  }

  /**
   * The residual, and the cheapest activity class.
   * @param {FrameState} frame
   * @param {FrameState | null} reference
   */
  #choose(frame, reference) {
    const predicted = this.#prediction(reference, frame.captureMs, frame.stepIndex);
    const residual = frame.levels.map((level, i) => level - predicted.levels[i]);
    return { residual, ...cheapestClass(residual, predicted.widths), widths: predicted.widths };
  }

  /**
   * Throws BitstreamError.
   * @param {RangeDecoder} coder
   * @param {FrameState | null} reference
   * @param {number} captureMs
   * @param {number} stepIndex
   * @returns {Int32Array} levels of the next frame
   */
  decode(coder, reference, captureMs, stepIndex) {
    const predicted = this.#prediction(reference, captureMs, stepIndex);
    const chosen = coder.decode(CLASS_SUMS);
    return predicted.levels.map((level, i) => {
      const decoded = level + decodeLaplace(coder, shifted(predicted.widths[i], chosen));
      if (Math.abs(decoded) > MAX_LEVEL) throw new BitstreamError("motion payload is damaged (a level out of range)");
      return decoded;
    });
  }
}

/**
 * @param {Int32Array} residual
 * @param {Int32Array} widths before the class's shift
 */
function cheapestClass(residual, widths) {
  let chosen = 0;
  let cost = Infinity;
  for (let candidate = 0; candidate < CLASS_SHIFTS.length; candidate++) {
    let sum = CLASS_COST[candidate];
    for (let i = 0; i < residual.length; i++) sum += laplaceCost(residual[i], shifted(widths[i], candidate));
    if (sum < cost) [chosen, cost] = [candidate, sum];
  }
  return { chosen, cost };
}

/**
 * @param {number} width
 * @param {number} activityClass
 */
function shifted(width, activityClass) {
  return Math.min(MAX_WIDTH, Math.max(0, width + CLASS_SHIFTS[activityClass]));
}

/**
 * @param {RangeEncoder} coder
 * @param {number} intervalMs 0 ... 65535, between two frames of a message
 * @param {number | null} previousMs the one before
 */
export function encodeInterval(coder, intervalMs, previousMs) {
  if (previousMs === null) encodeLaplace(coder, intervalMs - FIRST_INTERVAL_MS, FIRST_INTERVAL_WIDTH);
  else encodeLaplace(coder, intervalMs - previousMs, INTERVAL_WIDTH);
}

/**
 * Throws BitstreamError.
 * @param {RangeDecoder} coder
 * @param {number | null} previousMs
 */
export function decodeInterval(coder, previousMs) {
  const interval =
    previousMs === null
      ? FIRST_INTERVAL_MS + decodeLaplace(coder, FIRST_INTERVAL_WIDTH)
      : previousMs + decodeLaplace(coder, INTERVAL_WIDTH);
  if (interval < 0 || interval > MAX_INTERVAL_MS) throw new BitstreamError("motion payload is damaged (a capture interval out of range)");
  return interval;
}
