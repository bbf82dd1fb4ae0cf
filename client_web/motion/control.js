// @ts-check
/** Messages of the data channel `control`, as a sender speaks them: msgpack maps with a type `t` (docs/protocol.md). */

/**
 * @typedef {{encode: (value: unknown) => Uint8Array<ArrayBuffer>, decode: (data: Uint8Array) => unknown}} Msgpack
 *
 * @typedef {{t: "ping", n: number, ms: number} | {t: "pong", n: number, ms: number, peer_ms: number}
 *   | {t: "source", index: number, sha256: string} | {t: "state", paused: boolean}
 *   | {t: "stages", extract: number, encode: number, audio: number}} Said
 * @typedef {{t: "ping", n: number, ms: number} | {t: "pong", n: number, ms: number} | {t: "need_source", sha256: string}} Heard
 */

const MAX_BYTES = 4096;
/** Bytes that may wait; beyond it the peer does not read and gets no more. */
const MAX_BUFFERED = 16_384;

export class ControlChannel {
  /**
   * @param {{readyState: string, bufferedAmount: number, send: (data: Uint8Array<ArrayBuffer>) => void}} channel
   * @param {Msgpack} msgpack
   */
  constructor(channel, msgpack) {
    this.channel = channel;
    this.msgpack = msgpack;
    this.malformed = 0;
  }

  /** @param {Said} message */
  send(message) {
    if (this.channel.readyState !== "open" || this.channel.bufferedAmount >= MAX_BUFFERED) return;
    this.channel.send(this.msgpack.encode(message));
  }

  /**
   * A message of the receiver; null where it is of a kind that a page does not act on, or damaged.
   * @param {unknown} data
   * @returns {Heard | null}
   */
  parse(data) {
    try {
      if (!(data instanceof ArrayBuffer) || data.byteLength > MAX_BYTES) throw new RangeError();
      const fields = /** @type {any} */ (this.msgpack.decode(new Uint8Array(data)));
      if (typeof fields?.t !== "string") throw new RangeError();
      if (fields.t === "ping" || fields.t === "pong") {
        const { t, n, ms } = fields;
        if (!Number.isSafeInteger(n) || !Number.isFinite(ms)) throw new RangeError();
        return { t, n, ms };
      }
      if (fields.t === "need_source") {
        if (typeof fields.sha256 !== "string") throw new RangeError();
        return { t: "need_source", sha256: fields.sha256 };
      }
      return null;
    } catch {
      this.malformed += 1;
      return null;
    }
  }
}
