// @ts-check
/** Motion frames onto the data channel: encode, wait while the channel is behind, count what goes over the wire. */
import { BitstreamError } from "../codec/error.js";

/** @typedef {import("./motion_camera.js").MotionSample} MotionSample */

/** IPv4, UDP, DTLS 1.2 and SCTP around one message, bytes. */
export const HEADER_BYTES = 93;
const WINDOW_MS = 2000;

/** Bytes a second over the last two seconds. Pure: takes the time. */
export class RateWindow {
  constructor() {
    /** @type {{at: number, bytes: number}[]} */
    this.sent = [];
  }

  /**
   * @param {number} bytes
   * @param {number} now milliseconds
   */
  add(bytes, now) {
    this.sent.push({ at: now, bytes });
    this.#forget(now);
  }

  /**
   * @param {number} now
   * @returns {number} kbit/s
   */
  kbps(now) {
    this.#forget(now);
    return (8 * this.sent.reduce((sum, { bytes }) => sum + bytes, 0)) / WINDOW_MS;
  }

  /** @param {number} now */
  #forget(now) {
    while (this.sent.length > 0 && this.sent[0].at <= now - WINDOW_MS) this.sent.shift();
  }
}

/** One connection's motion stream. At most one frame waits; a newer one replaces it. */
export class MotionPublisher {
  /**
   * @param {{encode: (vector: Float32Array, captureMs: number, source: number) => Uint8Array<ArrayBuffer> | null,
   *   onAcknowledgement: (data: Uint8Array) => void}} encoder a fresh one: a new connection's decoder knows no references
   * @param {{readyState: string, bufferedAmount: number, send: (data: Uint8Array<ArrayBuffer>) => void}} channel
   */
  constructor(encoder, channel) {
    this.encoder = encoder;
    this.channel = channel;
    /** @type {MotionSample | null} */
    this.waiting = null;
    this.frames = 0;
    this.dropped = 0;
    this.malformed = 0;
    this.payload = new RateWindow();
    this.wire = new RateWindow();
  }

  /**
   * @param {MotionSample} sample
   * @param {number} now milliseconds
   */
  publish(sample, now) {
    if (this.channel.readyState !== "open") {
      this.dropped += 1;
      return;
    }
    if (this.waiting !== null) this.dropped += 1;
    this.waiting = null;
    if (this.channel.bufferedAmount > 0) {
      this.waiting = sample;
      return;
    }
    this.frames += 1;
    const message = this.encoder.encode(sample.vector, Math.floor(sample.capturedMs), sample.source);
    if (message === null) return;
    this.channel.send(message);
    this.payload.add(message.length, now);
    this.wire.add(message.length + HEADER_BYTES, now);
  }

  /** @param {number} now the channel's buffer ran empty */
  drained(now) {
    const sample = this.waiting;
    this.waiting = null;
    if (sample !== null) this.publish(sample, now);
  }

  /** @param {unknown} data what came down the motion channel */
  receive(data) {
    try {
      if (!(data instanceof ArrayBuffer)) throw new BitstreamError("text on the motion channel");
      this.encoder.onAcknowledgement(new Uint8Array(data));
    } catch (error) {
      if (!(error instanceof BitstreamError)) throw error;
      this.malformed += 1;
    }
  }
}
