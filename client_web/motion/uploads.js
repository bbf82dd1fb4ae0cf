// @ts-check
/**
 * What a sender uploads beside its media, to the node that has the room (`server/sender/connection/uploads.py`): source images and
 * windows. Windows go one after the other, slowly, and none of them ends a call: the picture is as good as before.
 */

/**
 * @typedef {import("./motion_camera.js").SourceImage} SourceImage
 * @typedef {import("./motion_camera.js").WindowUpload} WindowUpload
 *
 * @typedef {{room: string, participant: string, token: string | null, node: URL | null}} Place whose they are
 */

/** Pause after a window: 32 kbit/s. Their choice keeps within 4 kbit/s over a minute (`window_choice.js`). */
const WINDOW_MS_PER_BYTE = (1000 * 8) / 32_000;
/** An upload that takes longer has failed. */
const UPLOAD_MS = 35_000;
/** Until something is offered again to a server that is busy, full or still loading: at first, and at most. */
const AGAIN_MS = 500;
const LONGEST_AGAIN_MS = 8_000;
/** Times that a window is offered. */
const MOST_OFFERS = 6;
/** Answers of that kind to one source image after which somebody should know. */
const TOLD_AFTER = 3;

export class Uploads {
  /**
   * @param {Place} place
   * @param {(refusal: string) => void} [onDelay] a source image has been refused for a while, for a reason that may pass
   */
  constructor(place, onDelay = () => undefined) {
    this.place = place;
    this.onDelay = onDelay;
    /** Windows that wait, the newest of each slot. @type {Map<number, WindowUpload>} */
    this.waiting = new Map();
    /** Of the newest window. @type {number | null} */
    this.scene = null;
    this.sending = false;
    this.closed = false;
  }

  /**
   * Brings a source image, again and again where that may help: without it there is no face.
   * @param {SourceImage} source
   * @param {boolean} attach only by its name
   * @returns {Promise<string | null>} why not, in words
   */
  async source({ index, scene, image, sha256 }, attach) {
    const query = { index: String(index), scene: String(scene), ...(attach ? { sha256 } : {}) };
    for (let tries = 1; ; tries += 1) {
      const { refusal, passing } = await this.#put("source", query, attach ? null : image);
      if (!passing || this.closed) return refusal;
      if (tries === TOLD_AFTER) this.onDelay(String(refusal));
      await new Promise((resolve) => setTimeout(resolve, pauseAfter(tries)));
      if (this.closed) return refusal;
    }
  }

  /**
   * Brings a window in the background; one that waits for the same slot is history.
   * @param {WindowUpload} window
   */
  window(window) {
    this.scene = window.scene;
    for (const [slot, { scene }] of this.waiting) if (scene !== window.scene) this.waiting.delete(slot); // history
    this.waiting.set(window.slot, window);
    if (!this.sending) void this.#sendWindows();
  }

  /** Brings no window that waits, and nothing again. */
  close() {
    this.closed = true;
    this.waiting.clear();
  }

  async #sendWindows() {
    this.sending = true;
    let refused = 0; // in a row, for a reason that may pass
    /** @type {WeakMap<WindowUpload, number>} */
    const offers = new WeakMap();
    for (const [slot, window] of this.waiting) {
      const { scene, image } = window;
      this.waiting.delete(slot);
      const { refusal, passing } = await this.#put("mouth", { slot: String(slot), scene: String(scene) }, image);
      if (refusal !== null) console.info(`window ${slot}: ${refusal}`);
      refused = passing ? refused + 1 : 0;
      offers.set(window, (offers.get(window) ?? 0) + 1);
      const wanted = !this.closed && scene === this.scene && !this.waiting.has(slot) && Number(offers.get(window)) < MOST_OFFERS;
      if (passing && wanted) this.waiting.set(slot, window);
      const pause = passing ? pauseAfter(refused) : WINDOW_MS_PER_BYTE * image.size;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
    this.sending = false;
  }

  /**
   * @param {"source" | "mouth"} what `mouth` takes every window: it is named after those that there were first
   * @param {{[name: string]: string}} query
   * @param {Blob | null} body
   * @returns {Promise<{refusal: string | null, passing: boolean}>} why not, in words, and whether that may be otherwise soon
   */
  async #put(what, query, body) {
    const { room, participant, token, node } = this.place;
    const path = `rooms/${encodeURIComponent(room)}/participants/${encodeURIComponent(participant)}/${what}`;
    const headers = { Authorization: `Bearer ${token ?? ""}`, ...(body === null ? {} : { "Content-Type": body.type }) };
    try {
      const response = await fetch(`${node?.href ?? ""}${path}?${new URLSearchParams(query)}`, {
        method: "PUT",
        headers,
        body,
        signal: AbortSignal.timeout(UPLOAD_MS),
      });
      if (response.status === 201) return { refusal: null, passing: false };
      const answer = await response.json().catch(() => ({}));
      const refusal = String(answer.message ?? `the server answered ${response.status}`);
      return { refusal, passing: response.status === 429 || response.status >= 500 };
    } catch {
      return { refusal: "the server cannot be reached", passing: true };
    }
  }
}

/**
 * Until something is offered again, ms.
 * @param {number} refused times in a row
 */
function pauseAfter(refused) {
  return Math.min(AGAIN_MS * 2 ** (refused - 1), LONGEST_AGAIN_MS);
}
