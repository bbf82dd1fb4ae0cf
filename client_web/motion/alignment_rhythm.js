// @ts-check
/** Which frames are aligned to the source image. Simpler than `server/sender/media/alignment_rhythm.py`: what is late for a pass does not count for the next. Pure: takes the time, in seconds. */

/** Between two alignments at least. What is found lasts. */
const ALIGN_EVERY = 0.06;
/** Of the time, that alignment may take at most. */
const ALIGN_SHARE = 0.2;
/** A frame that comes just when the next alignment is due is not put off because of rounding. */
const ROUNDING = 1e-6;

export class AlignmentRhythm {
  constructor() {
    this.next = -Infinity;
  }

  /**
   * Whether the frame captured then is to be aligned.
   * @param {number} captured
   */
  due(captured) {
    return captured >= this.next - ROUNDING;
  }

  /**
   * That frame was aligned.
   * @param {number} captured
   * @param {number} cost seconds
   */
  took(captured, cost) {
    this.next = captured + Math.max(ALIGN_EVERY, cost / ALIGN_SHARE);
  }
}
