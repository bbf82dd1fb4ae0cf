// @ts-check
/**
 * A steady crop around a head that moves (`model/face/tracker.py`): still while the head stays near, gliding after it when it
 * leaves. Pure: takes measured faces and the time that passed.
 */
import { faceCrop } from "./crop.js";

/** @typedef {import("./crop.js").Crop} Crop */
/** @typedef {{x: number, y: number, height: number}} FaceBox middle and height, hairline to chin, pixels */

const [FOREHEAD, CHIN] = [10, 152];
/** The middle of a head pose's face lies so many heights below the middle of these. */
const BELOW = 0.018;

/**
 * The face with these landmarks; in depth, too: a bowed head is as tall as an upright one.
 * @param {Float32Array} points (478, 3) pixels
 * @returns {FaceBox}
 */
export function faceOfLandmarks(points) {
  const [top, bottom] = [FOREHEAD, CHIN].map((index) => points.subarray(3 * index, 3 * index + 3));
  const height = Math.hypot(bottom[0] - top[0], bottom[1] - top[1], bottom[2] - top[2]);
  return { x: (top[0] + bottom[0]) / 2, y: (top[1] + bottom[1]) / 2 + BELOW * height, height };
}

const LEAVE = 0.22; // dead-band of the middle, in face heights
const LEAVE_SIZE = 0.2; // dead-band of the size, in natural logarithms
const ARRIVE = 0.06; // closer than this in both measures, and slower than this a second, the crop rests again
const PLACE_SECONDS = 0.12; // time constant of the filter of the middle
const SIZE_SECONDS = 1.5; // and of the size
const STIFFNESS = 4; // of the spring, rad/s at the edge of the dead-band; more the further the face has got away

export class CropFollower {
  constructor() {
    /** Filtered: x, y, log height. @type {number[] | null} */
    this.face = null;
    /** The face that the crop is made for. */
    this.target = [0, 0, 0];
    this.speed = [0, 0, 0];
    this.sinceFace = 0;
    this.gliding = false;
  }

  /**
   * @param {FaceBox | null} face what was measured in this frame
   * @param {number} elapsed seconds since the last frame
   * @param {number} width of the frame
   * @param {number} height
   * @returns {Crop | null} null before the first face
   */
  follow(face, elapsed, width, height) {
    this.sinceFace += elapsed;
    if (face !== null) {
      const measured = placeOf(face);
      const known = this.face;
      if (known === null) {
        this.face = measured;
        this.target = [...measured];
      } else {
        const seconds = [PLACE_SECONDS, PLACE_SECONDS, SIZE_SECONDS];
        this.face = known.map((value, i) => value + (1 - Math.exp(-this.sinceFace / seconds[i])) * (measured[i] - value));
      }
      this.sinceFace = 0;
    }
    if (this.face === null) return null;
    this.#glide(this.face, elapsed);
    return faceCrop(this.target[0], this.target[1], Math.exp(this.target[2]), width, height);
  }

  /**
   * Forgets the past: the next crop lies around this face at once.
   * @param {FaceBox} face found anew
   */
  jump(face) {
    this.face = placeOf(face);
    this.target = [...this.face];
    this.speed = [0, 0, 0];
    this.sinceFace = 0;
    this.gliding = false;
  }

  /**
   * @param {number[]} face
   * @param {number} elapsed
   */
  #glide(face, elapsed) {
    const size = Math.exp(this.target[2]);
    const unit = [size, size, 1];
    const gap = face.map((value, i) => (value - this.target[i]) / unit[i]);
    const away = Math.max(Math.hypot(gap[0], gap[1]) / LEAVE, Math.abs(gap[2]) / LEAVE_SIZE);
    this.gliding ||= away > 1;
    if (!this.gliding) return;
    // Exact solution of the critically damped spring over `elapsed`, so that the frame rate does not matter.
    const stiffness = STIFFNESS * Math.max(1, away);
    const decay = Math.exp(-stiffness * elapsed);
    for (let i = 0; i < 3; i++) {
      const rest = this.target[i] - face[i];
      const swing = (this.speed[i] + stiffness * rest) * elapsed;
      this.target[i] = face[i] + (rest + swing) * decay;
      this.speed[i] = (this.speed[i] - stiffness * swing) * decay;
    }
    const near = face.every((value, i) => Math.abs((value - this.target[i]) / unit[i]) < ARRIVE);
    const slow = this.speed.every((value, i) => Math.abs(value / unit[i]) < ARRIVE);
    if (near && slow) {
      this.gliding = false;
      this.speed = [0, 0, 0];
    }
  }
}

/** @param {FaceBox} face */
function placeOf({ x, y, height }) {
  return [x, y, Math.log(Math.max(height, 1))];
}
