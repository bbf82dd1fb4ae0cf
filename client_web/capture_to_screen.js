// @ts-check
/**
 * How old a picture is when it is seen, measured for each frame by itself: the server sends when what a frame shows was
 * captured, requestVideoFrameCallback when that very frame comes to the screen; the RTP timestamp names it for both. Pure.
 */

/**
 * @typedef {object} CaptureToScreen
 * @property {number} median ms
 * @property {number} p95 ms; 95 of 100 frames are not older
 * @property {number} frames how many were measured
 */

/** Frames that one side knows and the other does not know yet; some seconds of them. */
const WAITING = 256;
/** Figures are of the frames shown within this time. */
const WINDOW_MS = 5000;
/** Beyond this it is no delay but two clocks that were never related. */
const LONGEST_MS = 60_000;

/**
 * @typedef {"no" | "not yet" | "yes"} Possible whether this browser names the frames that it shows; known with the first one
 */

export class CaptureToScreenMeter {
  constructor() {
    /** Own clock, ms, by RTP timestamp. @type {Map<number, number>} */
    this.shown = new Map();
    /** The server's clock, ms, by RTP timestamp. @type {Map<number, number>} */
    this.captured = new Map();
    /** @type {{at: number, delay: number}[]} */
    this.delays = [];
    /** @type {Possible} */
    this.possible = "not yet";
  }

  /**
   * A frame comes to the screen.
   * @param {{rtpTimestamp?: number, expectedDisplayTime?: number, presentationTime?: number}} metadata of
   *   requestVideoFrameCallback
   */
  onShown({ rtpTimestamp, expectedDisplayTime, presentationTime }) {
    const at = expectedDisplayTime ?? presentationTime;
    this.possible = rtpTimestamp === undefined || at === undefined ? "no" : "yes";
    if (rtpTimestamp === undefined || at === undefined) return;
    // Only the first time counts: a frame may be composited again, for example when the page is resized.
    if (!this.shown.has(rtpTimestamp)) remember(this.shown, rtpTimestamp, at);
  }

  /**
   * The server reports frames that it sent. A frame is measured once both of its times are known.
   * @param {readonly (readonly [number, number])[]} frames RTP timestamp, capture time by the server's clock, ms
   * @param {number | null} offset server's clock minus own clock, ms; null before the two are related
   */
  onCaptured(frames, offset) {
    for (const [rtpTimestamp, captured] of frames) remember(this.captured, rtpTimestamp, captured);
    if (offset === null) return;
    for (const [rtpTimestamp, captured] of this.captured) {
      const at = this.shown.get(rtpTimestamp);
      if (at === undefined) continue;
      this.captured.delete(rtpTimestamp);
      const delay = at + offset - captured;
      if (Math.abs(delay) < LONGEST_MS) this.delays.push({ at, delay });
    }
  }

  /**
   * @param {number} now own clock, ms
   * @returns {CaptureToScreen | null} null while nothing was measured lately
   */
  figure(now) {
    this.delays = this.delays.filter(({ at }) => now - at < WINDOW_MS);
    if (this.delays.length === 0) return null;
    const sorted = this.delays.map(({ delay }) => delay).sort((a, b) => a - b);
    const at = (/** @type {number} */ share) => /** @type {number} */ (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
    return { median: at(0.5), p95: at(0.95), frames: sorted.length };
  }

  /** Forgets everything: another connection counts its timestamps from another origin. */
  reset() {
    this.shown.clear();
    this.captured.clear();
    this.delays = [];
  }
}

/**
 * @param {Map<number, number>} map
 * @param {number} key
 * @param {number} value
 */
function remember(map, key, value) {
  map.set(key, value);
  if (map.size > WAITING) map.delete(/** @type {number} */ (map.keys().next().value));
}
