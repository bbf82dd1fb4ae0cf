// @ts-check
/**
 * Motion frames on their way: behind the packets of the voice, or on the data channel; and what they cost there.
 *
 * While the voice brings a packet every 60 ms, frames wait for the next one and travel behind it: that costs no header. Without a
 * voice, or when it stalls, they take the data channel.
 */
import { CALL_RATE } from "../codec/encoder.js";
import { BitstreamError } from "../codec/error.js";
import { MAX_FRAMES } from "../codec/packet.js";
import { MAX_TRAILER } from "./voice_trailer.js";

/**
 * @typedef {import("./motion_camera.js").MotionSample} MotionSample
 * @typedef {import("../codec/encoder.js").Rate} Rate
 */

/** IPv4, UDP, DTLS 1.2 and SCTP around one message, bytes. */
export const HEADER_BYTES = 93;
const WINDOW_MS = 2000;

/** Milliseconds without a packet of the voice after which it is not waited for. */
const VOICE_STALLED_MS = 100;
/** That the oldest frame waits for a packet of the voice when it is late; then all take the data channel. */
const LONGEST_WAIT_MS = 80;
/** Between frames at most, where two share a message of the data channel: its headers cost more than what both hold. */
const SHARING_MS = 60;

/** All that waits becomes one message when a packet leaves. @type {Rate} */
const RIDING_RATE = { ...CALL_RATE, framesPerMessage: MAX_FRAMES };
/** @type {Rate} */
const SHARING_RATE = { ...CALL_RATE, framesPerMessage: 2 };

const NOTHING = new Uint8Array();

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

/** One connection's motion stream. On the data channel at most one frame waits; a newer one replaces it. */
export class MotionPublisher {
  /**
   * @param {{rate: Rate, encode: (vector: Float32Array, captureMs: number, source: number) => Uint8Array<ArrayBuffer> | null,
   *   flush: () => Uint8Array<ArrayBuffer> | null, onAcknowledgement: (data: Uint8Array) => void}} encoder a fresh one: a new
   *   connection's decoder knows no references
   * @param {{readyState: string, bufferedAmount: number, send: (data: Uint8Array<ArrayBuffer>) => void}} channel
   */
  constructor(encoder, channel) {
    this.encoder = encoder;
    this.channel = channel;
    /** @type {MotionSample | null} */
    this.waiting = null;
    /** Since when encoded frames wait for the voice. @type {number | null} */
    this.oldest = null;
    /** When the voice could last take something along. */
    this.voiceAt = -Infinity;
    /** When the frame before came. */
    this.frameAt = -Infinity;
    this.frames = 0;
    this.dropped = 0;
    this.malformed = 0;
    /** Of all messages, and of those that travelled behind the voice. */
    this.motionBytes = 0;
    this.behindVoiceBytes = 0;
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
    if (now - this.voiceAt <= VOICE_STALLED_MS) {
      this.waiting = null;
      this.encoder.rate = RIDING_RATE;
      const message = this.#encode(sample, now);
      if (message !== null) {
        // Of frames before: for another source image, or too long.
        this.#transmit(message, now);
        this.oldest = null;
      }
      this.oldest ??= now;
      if (now - this.oldest >= LONGEST_WAIT_MS) this.#release(now);
      return;
    }
    if (this.waiting !== null) this.dropped += 1;
    this.waiting = null;
    if (this.channel.bufferedAmount > 0) {
      this.waiting = sample;
      return;
    }
    this.#release(now);
    this.encoder.rate = now - this.frameAt <= SHARING_MS ? SHARING_RATE : CALL_RATE;
    this.#transmit(this.#encode(sample, now), now);
  }

  /**
   * What waits, to travel behind a packet of the voice that leaves now: at most `MAX_TRAILER` bytes. To be called for each packet of
   * a voice behind which motion may travel.
   * @param {number} now
   * @returns {Uint8Array<ArrayBuffer>}
   */
  takeTrailer(now) {
    this.voiceAt = now;
    this.oldest = null;
    const message = this.encoder.flush();
    if (message === null) return NOTHING;
    if (message.length > MAX_TRAILER) {
      this.#transmit(message, now);
      return NOTHING;
    }
    this.motionBytes += message.length;
    this.behindVoiceBytes += message.length;
    this.payload.add(message.length, now);
    this.wire.add(message.length, now);
    return message;
  }

  /** @param {number} now no frames come for a while: what waits goes out */
  pause(now) {
    this.waiting = null;
    this.#release(now);
    this.#transmit(this.encoder.flush(), now);
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

  /** @param {number} now what waits for the voice takes the data channel */
  #release(now) {
    if (this.oldest === null) return;
    this.oldest = null;
    this.#transmit(this.encoder.flush(), now);
  }

  /**
   * @param {MotionSample} sample
   * @param {number} now
   */
  #encode(sample, now) {
    this.frames += 1;
    this.frameAt = now;
    return this.encoder.encode(sample.vector, Math.floor(sample.capturedMs), sample.source);
  }

  /**
   * @param {Uint8Array<ArrayBuffer> | null} message
   * @param {number} now
   */
  #transmit(message, now) {
    if (message === null || this.channel.readyState !== "open") return;
    this.channel.send(message);
    this.motionBytes += message.length;
    this.payload.add(message.length, now);
    this.wire.add(message.length + HEADER_BYTES, now);
  }
}
