// @ts-check
/** Landmarks frame by frame: found with the detector, followed by themselves, checked now and then (`model/landmarks/tracker.py`). */
import { detect, regionOfFace, search } from "./detector.js";
import { LANDMARKS, regionOfLandmarks, sample, toFrame } from "./region.js";

/** @typedef {import("./region.js").Frame} Frame */
/** @typedef {import("./region.js").Region} Region */
/** @typedef {import("./detector.js").Face} Face */
/** @typedef {import("./detector.js").Network} Network */

const SIDE = 192;
const LEAST_CONFIDENCE = 0.5;
/** So often a face that is followed is confirmed by the detector, and where none is, a small one is searched for. */
const CHECK_SECONDS = 1;
/** Sides of the square in which a face is looked for again, in sides of the region in which it is expected. */
const CLOSER = 1.5;
/** How many faces of a detection are tried. */
const TRIED = 3;

/**
 * What the landmark network sees in a region.
 * @param {Network} network
 * @param {Frame} frame
 * @param {Region} region
 * @returns {Promise<Float32Array | null>} (478, 3), pixels of the frame; null where there is no face
 */
export async function measure(network, frame, region) {
  const output = await network(sample(region, frame, SIDE));
  if (!(output[0] >= LEAST_CONFIDENCE)) return null;
  const points = new Float32Array(3 * LANDMARKS);
  for (let i = 0; i < points.length; i += 3) {
    [points[i], points[i + 1]] = toFrame(region, output[i + 1] / SIDE, output[i + 2] / SIDE);
    points[i + 2] = (output[i + 3] / SIDE) * region.side;
  }
  return points;
}

/** One face in a stream of frames; the largest is acquired, and stays the one that is followed while it is there. */
export class LandmarkTracker {
  /**
   * @param {Network} landmarks
   * @param {Network} detector
   */
  constructor(landmarks, detector) {
    this.landmarks = landmarks;
    this.detector = detector;
    /** Where the face is expected in the next frame. @type {Region | null} */
    this.region = null;
    /** Time of the last detection, seconds. */
    this.checked = -Infinity;
    /** All faces that the last detection found. @type {Face[]} */
    this.faces = [];
  }

  /**
   * @param {Frame} frame
   * @param {number} time seconds
   * @returns {Promise<Float32Array | null>} landmarks (478, 3) of the face, pixels; null when there is none
   */
  async update(frame, time) {
    const expected = this.region;
    const due = time - this.checked >= CHECK_SECONDS;
    let found = expected === null || due ? null : await measure(this.landmarks, frame, expected);
    if (found === null) {
      const regions = expected !== null && due ? await this.#checks(frame, expected) : await this.#searches(frame, due);
      if (expected !== null || due) this.checked = time;
      for (const region of regions) {
        found = await measure(this.landmarks, frame, region);
        if (found !== null) break;
      }
    }
    this.region = found === null ? null : regionOfLandmarks(found);
    return found;
  }

  /**
   * Where a face may be, the likeliest place first.
   * @param {Frame} frame
   * @param {boolean} finely
   */
  async #searches(frame, finely) {
    this.faces = await (finely ? search : detect)(this.detector, frame);
    return [...this.faces]
      .sort((a, b) => b.height - a.height)
      .slice(0, TRIED)
      .map(regionOfFace);
  }

  /**
   * Where a face that is expected there is, one after the other.
   * @param {Frame} frame
   * @param {Region} expected
   */
  async #checks(frame, expected) {
    const others = await this.#searches(frame, false);
    if (this.faces.some((face) => within(face, expected))) return [expected, ...others];
    // A small face is not seen in the whole frame, and one that is turned far by the landmarks' network alone.
    const { x, y, side } = expected;
    const closer = await detect(this.detector, frame, { x, y, side: CLOSER * side, angle: 0 });
    return others.length === 0 || closer.some((face) => within(face, expected)) ? [expected, ...others] : others;
  }
}

/**
 * @param {Face} face
 * @param {Region} region
 */
function within(face, region) {
  return Math.hypot(face.x - region.x, face.y - region.y) < region.side / 3;
}
