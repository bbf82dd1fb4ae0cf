// @ts-check
/** Whether motion can be sent at all, measured: is there a face, and is this device fast enough? Pure: takes the time. */

/** Seconds without any face before the camera's picture is sent instead. Once a face was sent, its absence is a pause. */
const FACELESS_SECONDS = 12;
/** Fewer motion frames a second are too few, over so many frames. */
const LEAST_RATE = 3;
const JUDGED_FRAMES = 40;

export class Fitness {
  constructor() {
    this.frames = 0;
    /** @type {number | null} */
    this.facelessSince = null;
  }

  /**
   * Takes every frame.
   * @param {boolean} face whether one is seen, or was sent before
   * @param {number} milliseconds that a frame takes, median
   * @param {number} now seconds
   * @returns {string | null} why motion cannot be sent, in words
   */
  judge(face, milliseconds, now) {
    this.frames += 1;
    this.facelessSince = face ? null : (this.facelessSince ?? now);
    if (this.facelessSince !== null && now - this.facelessSince > FACELESS_SECONDS) return "No face is found in the camera's picture.";
    if (this.frames < JUDGED_FRAMES || milliseconds <= 1000 / LEAST_RATE) return null;
    return `This device manages ${(1000 / milliseconds).toFixed(1)} motion frames a second, which is too few.`;
  }

  /** Another camera: what was seen before does not count. */
  restart() {
    this.frames = 0;
    this.facelessSince = null;
  }
}
