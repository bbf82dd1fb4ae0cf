// @ts-check
/** The frames that either side of the codec remembers, to predict from. */
import { MAX_REFERENCE_DISTANCE } from "./packet.js";

/** @typedef {import("./frame_coding.js").FrameState} FrameState */

/** Twice the reach of a reference, so that reordering loses none. */
export const HISTORY = 2 * (MAX_REFERENCE_DISTANCE + 1);

export class History {
  constructor() {
    /** @type {Map<number, FrameState>} */
    this.frames = new Map();
  }

  /** @param {number} sequence */
  get(sequence) {
    return this.frames.get(sequence & 0xffff) ?? null;
  }

  /** @param {FrameState} frame */
  add(frame) {
    this.frames.set(frame.sequence, frame);
    for (const oldest of this.frames.keys()) {
      if (this.frames.size <= HISTORY) break;
      this.frames.delete(oldest);
    }
  }

  get size() {
    return this.frames.size;
  }
}
