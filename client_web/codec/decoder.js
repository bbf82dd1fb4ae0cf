// @ts-check
/** Messages to motion vectors: references, repeats, new epochs, and what to acknowledge; as `model/codec/decoder.py` has it. */
import { decodeInterval, FrameCoder } from "./frame_coding.js";
import { History, HISTORY } from "./history.js";
import { openMotion, sequenceDistance, serializeAnswer } from "./packet.js";
import { stepFactor } from "./quantise.js";

/** @typedef {import("./frame_coding.js").FrameState} FrameState */
/** @typedef {import("./entropy.js").RangeDecoder} RangeDecoder */
/** @typedef {import("./packet.js").MotionMessage} MotionMessage */
/** @typedef {import("./packet.js").RefreshRequest} RefreshRequest */
/** @typedef {import("./statistics.js").MotionStatistics} MotionStatistics */

/** @typedef {{sequence: number, captureMs: number, source: number, vector: Float32Array}} DecodedFrame */

const RETIRED_EPOCHS = 2;

export class MotionDecoder {
  /** @param {MotionStatistics} statistics */
  constructor(statistics) {
    this.statistics = statistics;
    this.coder = new FrameCoder(statistics);
    this.history = new History();
    /** @type {number | null} */
    this.epoch = null;
    /** @type {number[]} */
    this.retired = [];
    /** @type {number | null} */
    this.newest = null;
    /** @type {RefreshRequest | null} */
    this.refresh = null;
  }

  /**
   * New frames of a message, oldest first; none where all are known, or the reference is missing. Throws BitstreamError on bytes
   * that no encoder writes; the state is then as before.
   * @param {Uint8Array} data
   * @returns {DecodedFrame[]}
   */
  decode(data) {
    const { message, coder } = openMotion(data);
    const epoch = this.#epochOf(message);
    if (this.retired.includes(epoch)) return [];
    const restarted = epoch !== this.epoch;
    /** @type {FrameState | null} */
    let reference = null;
    if (message.reference > 0) {
      reference = restarted ? null : this.history.get(message.sequence - message.reference);
      if (reference === null) {
        this.refresh = { kind: "refresh", epoch: message.epoch & 0xff, sequence: message.sequence };
        return [];
      }
    }
    const frames = this.#decodeFrames(message, coder, reference);
    if (restarted) this.#restart(message.epoch);
    const fresh = frames.filter(({ sequence }) => this.#isFresh(sequence));
    for (const frame of fresh) {
      this.history.add(frame);
      if (this.newest === null || sequenceDistance(frame.sequence, this.newest) > 0) this.newest = frame.sequence;
    }
    this.refresh = null;
    return fresh.map(({ sequence, captureMs, source, stepIndex, levels }) => {
      const factor = stepFactor(stepIndex);
      return { sequence, captureMs, source, vector: this.statistics.toVector(Float64Array.from(levels, (level) => level * factor)) };
    });
  }

  /** @returns {Uint8Array<ArrayBuffer> | null} what to send back to the encoder now; null before the first message */
  acknowledgement() {
    if (this.refresh !== null) return serializeAnswer(this.refresh);
    if (this.epoch === null || this.newest === null) return null;
    let received = 0;
    for (let i = 0; i < 32; i++) if (this.history.get(this.newest - 1 - i) !== null) received += 2 ** i;
    return serializeAnswer({ kind: "acknowledgement", epoch: this.epoch, sequence: this.newest, received });
  }

  /**
   * Levels of a frame that is still remembered.
   * @param {number} sequence
   */
  levels(sequence) {
    return this.history.get(sequence)?.levels ?? null;
  }

  /**
   * Epoch of a message; of a short one, the known epoch that its eight bits fit, the present one first; -1: none.
   * @param {MotionMessage} message
   */
  #epochOf(message) {
    if (message.captureMs !== null) return message.epoch;
    for (const epoch of [this.epoch, ...this.retired]) {
      if (epoch !== null && (epoch & 0xff) === message.epoch) return epoch;
    }
    return -1;
  }

  /**
   * @param {MotionMessage} message
   * @param {RangeDecoder} coder
   * @param {FrameState | null} reference never null where the message leaves something to it
   */
  #decodeFrames(message, coder, reference) {
    const source = message.source ?? reference?.source ?? 0;
    const stepIndex = message.stepIndex ?? reference?.stepIndex ?? 0;
    let captureMs = message.captureMs ?? ((reference?.captureMs ?? 0) + message.elapsedMs) % 2 ** 32;
    /** @type {FrameState[]} */
    const frames = [];
    let previous = reference;
    /** @type {number | null} */
    let interval = null;
    for (let i = 0; i < message.frames; i++) {
      if (i > 0) {
        interval = decodeInterval(coder, interval);
        captureMs = (captureMs + interval) % 2 ** 32;
      }
      const levels = this.coder.decode(coder, previous, captureMs, stepIndex);
      previous = { sequence: (message.sequence + i) & 0xffff, captureMs, source, stepIndex, levels };
      frames.push(previous);
    }
    coder.finish();
    return frames;
  }

  /** @param {number} sequence */
  #isFresh(sequence) {
    if (this.newest === null) return true;
    return sequenceDistance(sequence, this.newest) > -HISTORY / 2 && this.history.get(sequence) === null;
  }

  /** @param {number} epoch */
  #restart(epoch) {
    if (this.epoch !== null) this.retired = [...this.retired, this.epoch].slice(-RETIRED_EPOCHS);
    this.epoch = epoch;
    this.history = new History();
    this.newest = null;
  }
}
