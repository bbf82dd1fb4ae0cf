// @ts-check
/**
 * Which frame makes a good source image, which source a pose is nearest to, and when one more is wanted; as
 * `model/source/quality.py`, `expression.py` and `server/sender/media/source_choice.py`, `source_selection.py` have it.
 * Pure: takes frames one by one with their times, in seconds.
 */
import { distance, EXPRESSION, faceFrame } from "./motion.js";

/** @typedef {import("./region.js").Frame} Frame */

/**
 * @typedef {{sharpness: number, frontality: number, eyes: number}} Quality each in [0, 1]
 *
 * @typedef {object} Candidate a frame that may become a source image
 * @property {Frame} picture
 * @property {Float32Array<ArrayBuffer>} motion
 * @property {Quality} quality
 * @property {Reference} reference
 *
 * @typedef {object} Reference what later frames are registered with, of a frame that is or may become a source image
 * @property {import("./similarity.js").GreyPyramid} picture
 * @property {Float32Array<ArrayBuffer>} motion as extracted
 * @property {import("./background.js").Backdrop} backdrop
 *
 * @typedef {object} Source what the sender knows of a source image
 * @property {Frame} picture
 * @property {Float32Array<ArrayBuffer>} canonical (K, 3)
 * @property {Float32Array<ArrayBuffer>} motion
 * @property {Reference} reference
 * @property {import("./call_windows.js").SourceLook} look
 */

const SHARP = 60; // Laplacian variance of a webcam face in focus that scores one half, 8 bits at 256 pixels
const FRONTAL_DEGREES = 15;
const EYES_OPEN = 0.25; // lid distance in eye widths that counts as open

/** Outer corner, inner corner, upper lid, lower lid, by landmark. */
const EYES = [
  [33, 133, 159, 145],
  [263, 362, 386, 374],
];

/** Seconds that the first choice may take, from the first frame with a face. */
const FIRST_WINDOW = 0.8;
/** A score that ends the first choice early. */
const GOOD_ENOUGH = 0.85;
/** Mean shift of the keypoints by head rotation, crop units, that one source covers. */
const POSE_COVER = 0.1;
/** The same by expression. */
const EXPRESSION_COVER = 0.02;
/** Seconds that frames must lie outside their source before another one is used or wanted. */
const SETTLE = 0.4;
/** Another source is used only when its gap is below this share of the present one's. */
const SWITCH_GAIN = 0.8;
/** Least sharpness times openness of the eyes of a further source. */
const REFRESH_CLARITY = 0.6;
const MAX_SOURCES = 4;

/**
 * Variance of the 4-neighbour Laplacian of green, saturating.
 * @param {Frame} picture
 */
export function sharpness({ width, height, data }) {
  let [sum, squares] = [0, 0];
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) {
      const i = 4 * (y * width + x) + 1;
      const value = data[i - 4 * width] + data[i + 4 * width] + data[i - 4] + data[i + 4] - 4 * data[i];
      sum += value;
      squares += value * value;
    }
  }
  const count = (width - 2) * (height - 2);
  const variance = squares / count - (sum / count) ** 2;
  return variance / (variance + SHARP);
}

/**
 * Lid distance in eye widths, of the less open eye.
 * @param {ArrayLike<number>} canonical
 * @param {Float32Array} motion
 * @param {number[]} guided which landmark each keypoint of the face is
 */
export function eyeOpenness(canonical, motion, guided) {
  const points = faceFrame(canonical, motion, guided.length);
  /**
   * @param {number} a
   * @param {number} b
   */
  const apart = (a, b) => {
    const [i, k] = [3 * guided.indexOf(a), 3 * guided.indexOf(b)];
    return Math.hypot(points[i] - points[k], points[i + 1] - points[k + 1]);
  };
  return Math.min(...EYES.map(([outer, inner, upper, lower]) => apart(upper, lower) / Math.max(apart(outer, inner), 1e-6)));
}

/**
 * @param {Frame} picture
 * @param {Float32Array} motion
 * @param {number} openness of the eyes
 * @returns {Quality}
 */
export function quality(picture, motion, openness) {
  const angle2 = motion[0] ** 2 + motion[1] ** 2 + 0.5 * motion[2] ** 2;
  return {
    sharpness: sharpness(picture),
    frontality: Math.exp(-angle2 / (2 * FRONTAL_DEGREES ** 2)),
    eyes: Math.min(1, Math.max(0, openness / EYES_OPEN)),
  };
}

/** @param {Quality} quality */
function score({ sharpness: sharp, frontality, eyes }) {
  return sharp * frontality * eyes;
}

/** Keeps the best candidate of a short window. */
export class FirstChoice {
  constructor() {
    /** @type {Candidate | null} */
    this.best = null;
    /** @type {number | null} */
    this.since = null;
  }

  /**
   * @param {Candidate} candidate
   * @param {number} now
   * @returns {Candidate | null} the best one, when the window is over
   */
  consider(candidate, now) {
    this.since ??= now;
    if (this.best === null || score(candidate.quality) > score(this.best.quality)) this.best = candidate;
    return score(this.best.quality) >= GOOD_ENOUGH || now >= this.since + FIRST_WINDOW ? this.best : null;
  }
}

/**
 * How far a motion leaves what a source covers; 1 is the edge. Place and size in the crop do not count.
 * @param {Source} source
 * @param {Float32Array} motion
 * @param {number} heads keypoints that follow the head
 */
export function gap(source, motion, heads) {
  const own = source.motion;
  const turned = Float32Array.from(own);
  turned.set(motion.subarray(0, 3));
  const spoken = Float32Array.from(own);
  spoken.set(motion.subarray(EXPRESSION, EXPRESSION + 3 * heads), EXPRESSION);
  return Math.max(distance(source.canonical, turned, own, heads) / POSE_COVER, distance(source.canonical, spoken, own, heads) / EXPRESSION_COVER);
}

/** Which of the sources that the receiver has the frames use, and whether one more is wanted. */
export class SourceCover {
  /**
   * @param {Source} first
   * @param {number} heads
   */
  constructor(first, heads) {
    this.sources = [first];
    this.heads = heads;
    /** Of the current source, as motion messages name it. */
    this.index = 0;
    /** @type {number | null} */
    this.outsideSince = null;
  }

  get current() {
    return this.sources[this.index];
  }

  /** @param {Source} source that the receiver has taken */
  add(source) {
    this.index = this.sources.length;
    this.sources.push(source);
    this.outsideSince = null;
  }

  /**
   * Takes every frame; moves `current`.
   * @param {Float32Array} motion
   * @param {number} clarity
   * @param {number} now
   * @returns {boolean} whether this frame should become a further source
   */
  update(motion, clarity, now) {
    const present = gap(this.current, motion, this.heads);
    if (present <= 1) {
      this.outsideSince = null;
      return false;
    }
    this.outsideSince ??= now;
    if (now < this.outsideSince + SETTLE) return false;
    const gaps = this.sources.map((source) => gap(source, motion, this.heads));
    const least = Math.min(...gaps);
    if (least < SWITCH_GAIN * present) {
      this.index = gaps.indexOf(least);
      if (least <= 1) this.outsideSince = null;
    }
    return least > 1 && clarity >= REFRESH_CLARITY && this.sources.length < MAX_SOURCES;
  }
}

/** The sources of one sender; at most one is offered at a time. */
export class SourceSelection {
  /** @param {number} heads keypoints that follow the head */
  constructor(heads) {
    this.heads = heads;
    /** @type {FirstChoice | null} */
    this.choice = new FirstChoice();
    /** @type {SourceCover | null} */
    this.cover = null;
    /** Chosen, and not yet with the receiver. @type {Source | null} */
    this.offered = null;
  }

  /** Whether the first source is still to be chosen. */
  get choosing() {
    return this.choice !== null;
  }

  /** The source that frames use; null before the receiver has one. */
  get current() {
    return this.cover?.current ?? null;
  }

  get index() {
    return this.cover?.index ?? 0;
  }

  /**
   * Takes every frame with a face.
   * @param {Candidate} candidate
   * @param {number} now
   * @returns {Candidate | null} what is to be offered
   */
  choose(candidate, now) {
    if (this.choice !== null) {
      const chosen = this.choice.consider(candidate, now);
      if (chosen !== null) this.choice = null;
      return chosen;
    }
    const { sharpness: sharp, eyes } = candidate.quality;
    return this.cover?.update(candidate.motion, sharp * eyes, now) && this.offered === null ? candidate : null;
  }

  /**
   * A chosen source goes to the receiver, whose answer decides.
   * @param {Source} source
   * @returns {number} its index
   */
  offer(source) {
    this.offered = source;
    return this.cover?.sources.length ?? 0;
  }

  /**
   * The receiver has source `index`, or cannot use it.
   * @param {number} index
   * @param {boolean} taken
   */
  answer(index, taken) {
    const offered = this.offered;
    if (offered === null || index !== (this.cover?.sources.length ?? 0)) return; // an old source, attached again by a new connection
    this.offered = null;
    if (!taken) {
      if (this.cover === null) this.choice = new FirstChoice();
    } else if (this.cover === null) this.cover = new SourceCover(offered, this.heads);
    else this.cover.add(offered);
  }
}
