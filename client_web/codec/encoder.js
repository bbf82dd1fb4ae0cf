// @ts-check
/**
 * Motion vectors to messages, as `model/codec/encoder.py` has it: the first frame of a message is predicted from the newest
 * frame that the decoder acknowledged, or from nothing; so a lost message breaks no later one. On a line that has lost nothing
 * lately it may break one (`chaining.js`).
 */
import { Chaining } from "./chaining.js";
import { encodeInterval, FrameCoder } from "./frame_coding.js";
import { History } from "./history.js";
import {
  MAX_FRAMES,
  MAX_INTERVAL_MS,
  MAX_MESSAGE_BYTES,
  MAX_REFERENCE_DISTANCE,
  MOTION_HEADER_BYTES,
  parseAnswer,
  sequenceDistance,
  writeMotion,
} from "./packet.js";
import { MAX_STEP_INDEX, rescale } from "./quantise.js";

/** @typedef {import("./frame_coding.js").FrameState} FrameState */
/** @typedef {import("./packet.js").Acknowledgement} Acknowledgement */
/** @typedef {import("./statistics.js").MotionStatistics} MotionStatistics */

/**
 * @typedef {object} Rate how an encoder spends bytes
 * @property {number} stepIndex -24 ... 24, quarter octaves: 4 is twice as coarse
 * @property {number} framesPerMessage 1 ... 32
 * @property {number} repeat earlier frames that each message repeats, in case theirs was lost
 */

/** @type {Rate} One message a frame. */
export const CALL_RATE = { stepIndex: -6, framesPerMessage: 1, repeat: 0 };

/** Estimated; `#assemble` makes sure. */
const BUNDLE_BITS = 8 * (MAX_MESSAGE_BYTES - MOTION_HEADER_BYTES) * 0.9;

export class MotionEncoder {
  /**
   * @param {MotionStatistics} statistics
   * @param {number} epoch 0 ... 65535, names this encoder to decoders: to be drawn at random
   * @param {Rate} [rate]
   */
  constructor(statistics, epoch, rate = CALL_RATE) {
    if (rate.framesPerMessage + rate.repeat > MAX_FRAMES) throw new RangeError(`a message holds at most ${MAX_FRAMES} frames`);
    this.statistics = statistics;
    this.epoch = epoch;
    /** A new one takes effect with the next message. */
    this.rate = rate;
    this.coder = new FrameCoder(statistics);
    this.history = new History();
    /** @type {FrameState[]} */
    this.pending = [];
    this.pendingBits = 0;
    this.nextSequence = 0;
    /** @type {FrameState | null} */
    this.last = null;
    /** @type {FrameState | null} */
    this.acknowledged = null;
    /** @type {Acknowledgement | null} */
    this.acknowledgement = null;
    this.chaining = new Chaining();
  }

  /**
   * Takes one frame. Throws RangeError on a vector of another size or with values that are not finite.
   * @param {ArrayLike<number>} vector (N)
   * @param {number} captureMs wraps at 2^32
   * @param {number} source 0 ... 255
   * @returns {Uint8Array<ArrayBuffer> | null} a message when one is due
   */
  encode(vector, captureMs, source) {
    if (vector.length !== this.statistics.size || !Array.prototype.every.call(vector, Number.isFinite)) {
      throw new RangeError(`a motion vector of this model has ${this.statistics.size} finite scalars`);
    }
    if (!(source >= 0 && source <= 255)) throw new RangeError(`source index ${source} is not within 0 ... 255`);
    captureMs = wrapped32(captureMs);
    let message = null;
    if (this.pending.length > 0 && !this.#fits(captureMs, source)) message = this.#emit();
    const sequence = this.nextSequence;
    const predecessor = this.pending.at(-1) ?? this.#reference(sequence);
    const stepIndex = this.pending.at(-1)?.stepIndex ?? this.rate.stepIndex;
    const levels = this.coder.chooseLevels(this.statistics.toCoefficients(vector), captureMs, stepIndex, predecessor, this.last);
    const frame = { sequence, captureMs, source, stepIndex, levels };
    const bits = this.rate.framesPerMessage > 1 ? this.coder.bits(frame, predecessor) : 0;
    if (this.pending.length > 0 && this.pendingBits + bits > BUNDLE_BITS) message = this.#emit();
    this.pending.push(frame);
    this.pendingBits += bits;
    this.last = frame;
    this.nextSequence = (this.nextSequence + 1) & 0xffff;
    if (message === null && this.pending.length >= this.rate.framesPerMessage) message = this.#emit();
    return message;
  }

  /** @returns {Uint8Array<ArrayBuffer> | null} the message of the frames that wait for their bundle to fill */
  flush() {
    return this.pending.length > 0 ? this.#emit() : null;
  }

  /**
   * Takes what the decoder sent back; what is for another encoder, or older than one seen, is ignored. Throws BitstreamError.
   * @param {Uint8Array} data
   */
  onAcknowledgement(data) {
    const answer = parseAnswer(data);
    if (answer.kind === "refresh") {
      if (answer.epoch !== (this.epoch & 0xff)) return;
      if (this.history.get(answer.sequence) !== null) this.chaining.lost();
      if (!this.chaining.isChained(answer.sequence)) this.acknowledged = null;
      return;
    }
    if (answer.epoch !== this.epoch) return;
    const frame = this.history.get(answer.sequence);
    if (frame === null) return;
    if (this.acknowledgement === null || sequenceDistance(answer.sequence, this.acknowledgement.sequence) >= 0) {
      this.acknowledgement = answer;
      this.acknowledged = frame;
      if (this.#lacks(answer)) this.chaining.lost();
    }
  }

  /**
   * Whether the decoder lacks a frame of those before the one that it acknowledges.
   * @param {Acknowledgement} answer
   */
  #lacks({ sequence, received }) {
    // Frames before the first of the stream never existed and do not count as lost.
    for (let i = 0; i < 32; i += 1) if (((received >>> i) & 1) === 0 && this.history.get(sequence - 1 - i) !== null) return true;
    return false;
  }

  /**
   * Whether a frame may join those that wait.
   * @param {number} captureMs
   * @param {number} source
   */
  #fits(captureMs, source) {
    const last = /** @type {FrameState} */ (this.pending.at(-1));
    return last.source === source && (captureMs - last.captureMs) >>> 0 <= MAX_INTERVAL_MS;
  }

  /**
   * What a message that starts at this sequence number is predicted from.
   * @param {number} first
   */
  #reference(first) {
    const frame = this.#chains(first) ? this.history.get(first - 1) : this.acknowledged;
    if (frame === null) return null;
    const distance = sequenceDistance(first, frame.sequence);
    return distance >= 1 && distance <= MAX_REFERENCE_DISTANCE ? frame : null;
  }

  /**
   * Whether that message is predicted from the one before, though nobody knows that it has arrived.
   * @param {number} first
   */
  #chains(first) {
    if (this.acknowledged === null || this.rate.repeat > 0) return false;
    return this.chaining.allows(sequenceDistance(first, this.acknowledged.sequence));
  }

  #emit() {
    const frames = this.pending;
    this.pending = [];
    this.pendingBits = 0;
    const chained = this.#chains(frames[0].sequence);
    const { data, sent } = this.#assemble(frames);
    this.chaining.sent(frames[0].sequence, sent.length, chained);
    for (const frame of sent) this.history.add(frame);
    const newest = /** @type {FrameState} */ (sent.at(-1));
    if (this.last?.sequence === newest.sequence) this.last = newest;
    return data;
  }

  /**
   * The message of new frames, and these as they were sent: coarser where they would not fit otherwise.
   * @param {FrameState[]} frames
   */
  #assemble(frames) {
    let sent = frames;
    let repeated = this.#repeated(sent[0]);
    for (;;) {
      const data = this.#serialize([...repeated, ...sent]);
      if (data.length <= MAX_MESSAGE_BYTES) return { data, sent };
      if (repeated.length > 0) {
        repeated = repeated.slice(1);
        continue;
      }
      const coarser = sent[0].stepIndex + 2;
      if (coarser > MAX_STEP_INDEX) throw new RangeError("the motion of one message does not fit even at the coarsest step");
      sent = sent.map((frame) => ({ ...frame, stepIndex: coarser, levels: rescale(frame.levels, frame.stepIndex, coarser) }));
    }
  }

  /**
   * Earlier frames to send again, oldest first; none that the decoder has already.
   * @param {FrameState} first
   */
  #repeated(first) {
    /** @type {FrameState[]} */
    const frames = [];
    let later = first;
    while (frames.length < this.rate.repeat) {
      const frame = this.history.get(later.sequence - 1);
      if (frame === null || frame.source !== first.source || frame.stepIndex !== first.stepIndex) break;
      if ((later.captureMs - frame.captureMs) >>> 0 > MAX_INTERVAL_MS) break;
      if (this.acknowledged !== null && sequenceDistance(frame.sequence, this.acknowledged.sequence) <= 0) break;
      frames.unshift(frame);
      later = frame;
    }
    return frames;
  }

  /** @param {FrameState[]} frames */
  #serialize(frames) {
    const first = frames[0];
    const reference = this.#reference(first.sequence);
    return writeMotion(this.#header(first, reference, frames.length), (coder) => {
      let previous = reference;
      /** @type {number | null} */
      let interval = null;
      frames.forEach((frame, i) => {
        if (i > 0 && previous !== null) {
          const gap = (frame.captureMs - previous.captureMs) >>> 0;
          encodeInterval(coder, gap, interval);
          interval = gap;
        }
        this.coder.encode(coder, frame, previous);
        previous = frame;
      });
    });
  }

  /**
   * @param {FrameState} first
   * @param {FrameState | null} reference
   * @param {number} frames
   * @returns {import("./packet.js").MotionMessage}
   */
  #header(first, reference, frames) {
    const { sequence, source, stepIndex, captureMs } = first;
    const distance = reference === null ? 0 : sequenceDistance(sequence, reference.sequence);
    const elapsedMs = reference === null ? 0 : (captureMs - reference.captureMs) >>> 0;
    if (reference === null || elapsedMs > MAX_INTERVAL_MS) {
      return { epoch: this.epoch, sequence, reference: distance, frames, source, stepIndex, captureMs, elapsedMs: 0 };
    }
    return {
      epoch: this.epoch & 0xff,
      sequence,
      reference: distance,
      frames,
      source: source === reference.source ? null : source,
      stepIndex: stepIndex === reference.stepIndex ? null : stepIndex,
      captureMs: null,
      elapsedMs,
    };
  }
}

/** @param {number} value */
function wrapped32(value) {
  return Math.floor(value) - Math.floor(value / 2 ** 32) * 2 ** 32;
}
