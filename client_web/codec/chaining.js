// @ts-check
/**
 * Which messages may be predicted from the one before them, whether that has arrived or not (`model/codec/chaining.py`): every
 * other one, on a line that has lost nothing for a while. Counts frames, knows no time.
 */
import { HISTORY } from "./history.js";
import { sequenceDistance } from "./packet.js";

/** Frames without a loss after which a line is trusted: at first, and after a loss. */
const TRUSTED_AFTER = 10;
const TRUSTED_AGAIN_AFTER = 250;
/** Frames since the newest acknowledged one, within which what is known of the line is not out of date. */
const ANSWERED = 24;

/** Of one encoder. */
export class Chaining {
  constructor() {
    this.frames = 0;
    this.trustedFrom = TRUSTED_AFTER;
    this.justChained = false;
    /** First frames of chained messages. @type {number[]} */
    this.chained = [];
  }

  /**
   * Whether the next message may be chained.
   * @param {number} unanswered frames since the newest acknowledged one
   */
  allows(unanswered) {
    return this.frames >= this.trustedFrom && !this.justChained && unanswered <= ANSWERED;
  }

  /**
   * A message was made.
   * @param {number} sequence of its first frame
   * @param {number} frames
   * @param {boolean} chained
   */
  sent(sequence, frames, chained) {
    this.frames += frames;
    this.justChained = chained;
    if (chained) this.chained.push(sequence);
    while (this.chained.length > 0 && sequenceDistance(sequence, this.chained[0]) > HISTORY) this.chained.shift();
  }

  /** Something did not arrive. */
  lost() {
    this.trustedFrom = this.frames + TRUSTED_AGAIN_AFTER;
  }

  /**
   * Whether the message that begins with this frame was chained: what it lacks may be the one before.
   * @param {number} sequence
   */
  isChained(sequence) {
    return this.chained.includes(sequence);
  }
}
