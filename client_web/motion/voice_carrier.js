// @ts-check
/** The voice as a carrier of motion: every packet that leaves asks for what waits, and takes it along. */

/** Milliseconds after which a worker that does not start is given up. */
const START_MS = 5000;

export class VoiceCarrier {
  /** @returns {Promise<VoiceCarrier | null>} none where the browser cannot have packets changed on their way */
  static async start() {
    const Transform = /** @type {any} */ (globalThis).RTCRtpScriptTransform;
    if (Transform === undefined) return null;
    const worker = new Worker(new URL("./voice_worker.js", import.meta.url), { type: "module" });
    try {
      // A transform that is made before the worker's module has run is never heard of there.
      await said(worker, "ready");
      const transform = new Transform(worker, {});
      await said(worker, "attached");
      return new VoiceCarrier(worker, transform);
    } catch (error) {
      console.info(`motion travels beside the voice: ${error}`);
      worker.terminate();
      return null;
    }
  }

  /**
   * @param {Worker} worker
   * @param {unknown} transform
   */
  constructor(worker, transform) {
    this.worker = worker;
    this.transform = transform;
  }

  /**
   * Stands between encoder and packets from now on, and changes nothing yet. Chromium takes no other moment than that in which the
   * sender was made.
   * @param {RTCRtpSender} sender of the voice
   */
  attach(sender) {
    /** @type {any} */ (sender).transform = this.transform;
  }

  /**
   * From now on each payload ends with the length of its trailer; call it before the first packet leaves.
   * @param {() => Uint8Array<ArrayBuffer>} takeTrailer what waits when a packet leaves; empty for nothing
   */
  begin(takeTrailer) {
    this.worker.addEventListener("message", () => this.worker.postMessage(takeTrailer()));
    this.worker.postMessage("begin");
  }

  close() {
    this.worker.terminate();
  }
}

/**
 * @param {Worker} worker
 * @param {string} word
 * @returns {Promise<void>} rejected when the worker fails, or does not say it in time
 */
function said(worker, word) {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("its worker does not start")), START_MS);
    worker.addEventListener("error", () => reject(new Error("its worker failed")));
    worker.addEventListener("message", ({ data }) => data === word && resolve());
  });
}
