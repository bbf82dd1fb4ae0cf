// @ts-check
/**
 * Where the body has gone in a head's crop: shoulders and clothes below the chin, registered with the source image's, whose
 * keypoints a motion extractor places wrongly by pixels (`model/registration/body.py`). Pure.
 */
import { EXPRESSION } from "./motion.js";
import { BlockVote, hasMoved, moved, registered } from "./similarity.js";

/** @typedef {import("./similarity.js").Place} Place */
/** @typedef {import("./similarity.js").GreyPyramid} GreyPyramid */

/** Below the head's middle, and half its width, in units of the head's scale. */
const NECK = [0.85, 0.5];
/** How fast what may be shoulders widens below the neck. */
const SLOPE = 2.2;
/** Places that must have got better. */
const VOTES = 4;
/** Of what was measured last, that is kept a frame later when nothing can be measured. */
const FADE = 0.9;

/** Follows the body through the frames that one source image drives, in order. */
export class BodyTracker {
  /**
   * @param {GreyPyramid} source the source image
   * @param {Float32Array} motion of it
   * @param {number} first of the body's keypoints, which come last
   * @param {number} count
   */
  constructor(source, motion, first, count) {
    this.begin = EXPRESSION + 3 * first;
    this.end = this.begin + 3 * count;
    this.points = this.#pointsOf(motion);
    this.key = source.levels((x, y) => isFree(motion, x, y));
    /** Where the body of the last frame lies since the source image. @type {Place | null} */
    this.place = null;
    /** Measured place, less the extractor's. @type {Place} */
    this.correction = [0, 0, 0, 0];
  }

  /**
   * @param {GreyPyramid} picture
   * @param {Float32Array} motion of a frame
   * @returns {Float32Array<ArrayBuffer>} with the body's keypoints where they are measured
   */
  follow(picture, motion) {
    const seen = picture.levels(() => true);
    const now = this.#pointsOf(motion);
    const apart = (/** @type {number} */ axis) => now.reduce((sum, point, i) => sum + point[axis] - this.points[i][axis], 0) / now.length;
    /** @type {Place} */
    const extracted = [apart(0), apart(1), 0, 0];
    const place = this.#measured(seen, extracted);
    if (place !== null) {
      this.place = place;
      this.correction = combined(place, extracted, -1);
      return this.#withPoints(motion, this.points.map((point) => moved(point, place))); // prettier-ignore
    }
    const correction = (this.correction = combined([0, 0, 0, 0], this.correction, FADE));
    this.place = combined(extracted, correction, 1);
    return this.#withPoints(motion, now.map(([x, y], i) => {
      const [cx, cy] = moved(this.points[i], correction);
      return [x + cx - this.points[i][0], y + cy - this.points[i][1]];
    })); // prettier-ignore
  }

  /**
   * From where it was last, or from where the extractor has it; null when neither leads to a place that fits.
   * @param {import("./similarity.js").Level[]} seen
   * @param {Place} extracted
   */
  #measured(seen, extracted) {
    const starts = this.place === null ? [extracted] : [this.place, combined(extracted, this.correction, 1)];
    for (const start of starts) {
      const vote = new BlockVote(this.key, seen, start, VOTES);
      if (vote.settled()) return vote.tells ? start : null;
      const fit = registered(this.key, seen, start);
      if (!hasMoved(fit, start)) return start;
      if (vote.prefers(fit)) return fit;
    }
    return null;
  }

  /**
   * Places of the body's keypoints in the picture, crop units.
   * @param {Float32Array} motion
   */
  #pointsOf(motion) {
    const found = [];
    for (let i = this.begin; i < this.end; i += 3) found.push([motion[3] * motion[i] + motion[4], motion[3] * motion[i + 1] + motion[5]]);
    return found;
  }

  /**
   * @param {Float32Array} motion
   * @param {number[][]} points
   */
  #withPoints(motion, points) {
    const found = Float32Array.from(motion);
    points.forEach(([x, y], i) => {
      found[this.begin + 3 * i] = (x - motion[4]) / motion[3];
      found[this.begin + 3 * i + 1] = (y - motion[5]) / motion[3];
    });
    return found;
  }
}

/**
 * a + factor b.
 * @param {Place} a
 * @param {Place} b
 * @param {number} factor
 * @returns {Place}
 */
function combined(a, b, factor) {
  return [a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2], a[3] + factor * b[3]];
}

/**
 * Whether neck, shoulders or chest may lie there.
 * @param {Float32Array} motion
 * @param {number} x
 * @param {number} y
 */
function isFree(motion, x, y) {
  const [dx, dy] = [(x - motion[4]) / motion[3], (y - motion[5]) / motion[3]];
  return dy > NECK[0] && Math.abs(dx) < NECK[1] + SLOPE * (dy - NECK[0]);
}
