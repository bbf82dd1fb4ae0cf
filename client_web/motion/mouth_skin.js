// @ts-check
/** Whether something lies before a mouth: how uneven the skin around it is (`model/source/mouth_choice.py`). Pure. */
import { cutMouth } from "./mouth_window.js";
import { UNIT } from "./window.js";

/** @typedef {import("./region.js").Frame} Frame */

/** Unevenness of the skin around a mouth, as a multiple of what is usual for it, from which something lies before it. */
const COVERED = 2;
/** Share of that unevenness below which a mouth that was covered is bare again: a hand that holds still is smoother. */
const UNCOVERED = 0.7;
/** Mouths of a call that are remembered: a minute's, at ten looks a second. */
export const REMEMBERED = 600;
const LEAST_UNEVEN = 0.04; // what is usual for a mouth at least
const SKIN = [0.06, 0.28]; // mouth coordinates beyond the lips
/** The outer lips from corner to corner, by keypoint of the mouth. */
const UPPER = [0, 6, 2, 7, 1];
const LOWER = [0, 8, 3, 9, 1];

/**
 * How uneven the skin around a mouth is: mean distance of its grey from the median, as a share of that.
 * @param {Frame} crop
 * @param {number[]} points of the mouth, `mouthUsable`
 */
export function skinUnevenness(crop, points) {
  const { picture, lips, middle, half } = cutMouth(crop, points);
  const keypoints = [-1, 0, 1, 0, ...lips.map((value) => value * UNIT)];
  const [upper, lower] = [UPPER, LOWER].map((which) => knots(keypoints, which));
  const side = picture.width;
  const grey = [];
  for (let x = 0; x < side; x++) {
    const u = half * UNIT * ((2 * x + 1) / side - 1);
    const [above, below] = [heightAt(upper, u), heightAt(lower, u)];
    for (let y = 0; y < side; y++) {
      const v = middle * UNIT + half * UNIT * ((2 * y + 1) / side - 1);
      const beyond = Math.max(above - v, v - below, Math.abs(u) - 1);
      if (beyond <= SKIN[0] || beyond >= SKIN[1]) continue;
      const i = 4 * (y * side + x);
      grey.push((picture.data[i] + picture.data[i + 1] + picture.data[i + 2]) / 3);
    }
  }
  const usual = Math.max(median(grey), 1);
  return grey.reduce((sum, value) => sum + Math.abs(value - usual), 0) / grey.length / usual;
}

/**
 * Unevenness up to which nothing lies before a mouth for which `usual` is usual.
 * @param {number} usual
 */
export function bareSkin(usual) {
  return COVERED * Math.max(usual, LEAST_UNEVEN);
}

/** Whether something lies before a mouth, frame after frame. */
class CoveredMouth {
  constructor() {
    this.covered = false;
  }

  /**
   * @param {number} unevenness of the next frame's skin
   * @param {number} bare `bareSkin`
   */
  update(unevenness, bare) {
    this.covered = unevenness > (this.covered ? UNCOVERED * bare : bare);
    return this.covered;
  }
}

/** Whether something lies before the mouth of a call's sender, frame after frame, beside one source image. */
export class CallMouth {
  /** @param {number} own unevenness of the source image's skin; infinite where it cannot be told, and then none is covered */
  constructor(own) {
    this.own = own;
    this.mouth = new CoveredMouth();
    /** What bare mouths had since: they soon have twice the unevenness of lips at rest. @type {number[]} */
    this.bare = [];
  }

  /** @param {number} unevenness of the next frame's skin */
  update(unevenness) {
    const usual = this.bare.length > 0 ? Math.max(this.own, median(this.bare)) : this.own;
    const covered = this.mouth.update(unevenness, bareSkin(usual));
    if (!covered) this.bare.push(unevenness);
    if (this.bare.length > REMEMBERED) this.bare.shift();
    return covered;
  }
}

/**
 * Points of a line from left to right; expression may upset their order.
 * @param {number[]} keypoints
 * @param {number[]} which
 */
function knots(keypoints, which) {
  return which.map((i) => [keypoints[2 * i], keypoints[2 * i + 1]]).sort((a, b) => a[0] - b[0]);
}

/**
 * @param {number[][]} line
 * @param {number} u
 */
function heightAt(line, u) {
  const right = line.findIndex(([place]) => place > u);
  if (right < 0) return line[line.length - 1][1];
  if (right === 0) return line[0][1];
  const [[u0, v0], [u1, v1]] = [line[right - 1], line[right]];
  return v0 + ((u - u0) / (u1 - u0)) * (v1 - v0);
}

/** @param {number[]} values */
function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
