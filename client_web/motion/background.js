// @ts-check
/**
 * How far the background has moved in a head's crop: a camera in a hand moves it, and so does a crop that glides. Each frame's
 * surroundings of the person are registered with those of the source image (`model/registration/background.py`). Pure.
 */
import { after, BlockVote, cornerShift, hasMoved, registered, since } from "./similarity.js";

/** @typedef {import("./similarity.js").Place} Place */

/** How far a corner of the background may be moved, crop units. */
const REACH = 40 / 128;
/** Half axes of what may be head or hair, in units of the head's scale; shoulders lie below its middle. */
const HEAD = [0.95, 1.15];
const SHOULDERS = 0.75;
/** Places that must have got better. */
const VOTES = 6;
/** Share of the key's background that must still be seen. */
const OVERLAP = 0.6;
/** Frames in a row that fit nowhere after which another key is tried. */
const LOST = 12;

/** @typedef {{levels: import("./similarity.js").Level[], place: Place}} Backdrop the surroundings of a head, and where they lay */

/** Follows the background through the frames of one head, in order; any of them may become the source image. */
export class BackgroundTracker {
  constructor() {
    /** @type {Backdrop | null} */
    this.way = null;
    /** @type {Backdrop | null} */
    this.last = null;
    this.lost = 0;
  }

  /**
   * @param {import("./similarity.js").GreyPyramid} picture
   * @param {Float32Array} motion of the head in it
   * @param {Backdrop | null} source of the frame that is now the source image
   * @param {number[] | null} expected how far the background has moved since the last frame, as far as is known: the crop moves it
   */
  follow(picture, motion, source, expected) {
    const seen = picture.levels((x, y) => isFree(motion, x, y));
    if (this.last === null || this.way === null) {
      this.way = this.last = { levels: seen, place: [0, 0, 0, 0] };
      return;
    }
    const last = expected === null ? this.last.place : after(expected, this.last.place);
    let found = source === null ? null : fitted(source, seen, last);
    let stale = true; // what the source image says holds without errors of the way
    if (found === null || !found.sure || found.overlap < OVERLAP) {
      found = fitted(this.way, seen, last);
      stale = found.overlap < OVERLAP || this.lost >= LOST;
    }
    this.last = { levels: seen, place: found.place };
    this.lost = found.sure ? 0 : this.lost + 1;
    if (stale) this.way = this.last;
  }

  /**
   * Where the background lies in the last frame since the source image, or since the first frame; within reach.
   * @param {Backdrop | null} source
   * @returns {Place}
   */
  place(source) {
    const { place } = this.backdrop();
    const lies = source === null ? place : since(place, source.place);
    const factor = Math.min(1, REACH / cornerShift(lies));
    return [lies[0] * factor, lies[1] * factor, lies[2] * factor, lies[3] * factor];
  }

  /**
   * The last frame's, for when it becomes a source image. Throws RangeError before the first.
   * @returns {Backdrop}
   */
  backdrop() {
    if (this.last === null) throw new RangeError("no frame has been followed");
    return this.last;
  }
}

/**
 * The background's place in a frame after it lay at `last`; share of the key's background that is seen; whether to trust it.
 * @param {Backdrop} key
 * @param {import("./similarity.js").Level[]} seen
 * @param {Place} last
 * @returns {{place: Place, overlap: number, sure: boolean}}
 */
function fitted(key, seen, last) {
  const guess = since(last, key.place);
  const vote = new BlockVote(key.levels, seen, guess, VOTES);
  const { overlap } = vote;
  if (vote.settled()) return { place: last, overlap, sure: true };
  const fit = registered(key.levels, seen, guess);
  if (!hasMoved(fit, guess)) return { place: last, overlap, sure: true };
  const sure = vote.prefers(fit);
  return { place: sure ? after(fit, key.place) : last, overlap, sure };
}

/**
 * Whether neither the head nor what may be shoulders hides what lies there.
 * @param {Float32Array} motion
 * @param {number} x
 * @param {number} y
 */
function isFree(motion, x, y) {
  const [dx, dy] = [(x - motion[4]) / motion[3], (y - motion[5]) / motion[3]];
  return (dx / HEAD[0]) ** 2 + (dy / HEAD[1]) ** 2 > 1 && dy < SHOULDERS;
}
