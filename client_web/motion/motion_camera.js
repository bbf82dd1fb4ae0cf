// @ts-check
/**
 * The camera as motion: owns the worker, feeds it the camera's track, holds the source images, and says what is wrong. One for
 * the whole visit, lobby and call.
 */

import { Fitness } from "./fitness.js";

/**
 * @typedef {import("./worker.js").FromWorker} FromWorker
 * @typedef {import("./worker.js").ToWorker} ToWorker
 * @typedef {import("./model.js").Engine} Engine
 *
 * @typedef {{vector: Float32Array, source: number, capturedMs: number}} MotionSample
 * @typedef {{index: number, scene: number, image: Blob, sha256: string}} SourceImage
 * @typedef {{slot: number, scene: number, image: Blob}} WindowUpload a window as bytes; it takes the place of the one in its slot
 *
 * @typedef {object} MotionEvents
 * @property {() => void} onChange state, presence or a source image changed
 * @property {(sample: MotionSample) => void} onMotion
 * @property {(source: SourceImage) => void} onSource a source image was chosen; `answer` is to be called
 * @property {(window: WindowUpload) => void} onWindow a window was chosen
 */

/** Of which a second thread may be taken. */
const MANY_CORES = 4;
/** Without a frame for that long nothing flows. */
const SILENT_MS = 3000;
/** The worker has that long to close its frames; a muted camera gives none to wait for. */
const ENDING_MS = 2000;
/** Media type of a window. */
const WINDOW_TYPE = "application/octet-stream";
/** Scenes are counted in a byte. */
const SCENES = 256;

export class MotionCamera {
  /** @param {MotionEvents} events */
  constructor(events) {
    this.events = events;
    /** @type {Worker | null} */
    this.worker = null;
    /** @type {"off" | "loading" | "ready" | "failed"} */
    this.state = "off";
    /** Why motion cannot be sent, in words. @type {string | null} */
    this.problem = null;
    /** @type {Engine | null} */
    this.engine = null;
    /** Whether a face is seen now. */
    this.present = false;
    this.several = false;
    /** Median milliseconds of each step of a frame; `frame` is all of it. @type {{[name: string]: number}} */
    this.steps = {};
    this.fitness = new Fitness();
    this.takenAt = -Infinity;
    /** Chosen source images by index. @type {Map<number, SourceImage>} */
    this.sources = new Map();
    /** Windows beside them by slot. @type {Map<number, WindowUpload>} */
    this.windows = new Map();
    /** Of which sources these are: each choice of source images anew is another scene, as somebody else may be there. */
    this.scene = 0;
    /** Whether the receiver has one of the sources. */
    this.shown = false;
    /** @type {MediaStreamTrack | null} */
    this.track = null;
    this.stopFrames = () => {};
  }

  /** Whether motion comes now: a face is there, and so are frames, which some browsers withhold from a hidden tab. */
  get flowing() {
    return this.present && this.track !== null && performance.now() - this.takenAt < SILENT_MS;
  }

  /** Loads the networks; once. */
  start() {
    if (this.state !== "off") return;
    if (typeof OffscreenCanvas === "undefined" || typeof VideoFrame === "undefined") {
      this.fail("This browser cannot read the camera's frames.");
      return;
    }
    this.state = "loading";
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker = worker;
    worker.addEventListener("message", (/** @type {MessageEvent<FromWorker>} */ { data }) => {
      if (worker === this.worker) void this.#hear(data);
    });
    worker.addEventListener("error", () => {
      if (worker === this.worker) this.fail("Sending motion stopped by an error of the page.");
    });
    // Threads need memory that they share, which a browser gives to an isolated page alone. A second one shortens a frame by a
    // fifth at best and takes as much of a core again (docs/experiments/page-as-sender.md): not where cores are few.
    const threads = self.crossOriginIsolated && navigator.hardwareConcurrency >= MANY_CORES ? 2 : 1;
    void preferredEngines().then((engines) => worker.postMessage({ type: "start", engines, threads, scene: this.scene }));
    this.events.onChange();
  }

  /** Ends the worker; `start` begins anew. */
  stop() {
    this.stopFrames();
    this.stopFrames = () => {};
    const { worker } = this;
    if (worker !== null) {
      this.#tell({ type: "end" });
      setTimeout(() => worker.terminate(), ENDING_MS);
    }
    this.worker = null;
    this.state = "off";
    this.problem = null;
    this.present = this.several = this.shown = false;
    this.fitness.restart();
    this.#forgetSources();
    this.events.onChange();
  }

  /** @param {MediaStreamTrack | null} track of the camera */
  setTrack(track) {
    if (track === this.track) return;
    this.track = track;
    this.stopFrames();
    this.stopFrames = () => {};
    this.fitness.restart();
    if (this.state !== "ready") return;
    if (track === null) this.#tell({ type: "frames", stream: null });
    else this.#feed(track);
  }

  /** Chooses the source images anew. */
  takeAnotherPicture() {
    this.#forgetSources();
    this.shown = false;
    this.#tell({ type: "sources", scene: this.scene });
    this.events.onChange();
  }

  /**
   * The receiver has a source image, or cannot use it.
   * @param {number} index
   * @param {boolean} taken
   */
  answer(index, taken) {
    if (taken) this.shown = true;
    else this.sources.delete(index);
    this.#tell({ type: "answer", index, taken });
    this.events.onChange();
  }

  #forgetSources() {
    this.sources.clear();
    this.windows.clear();
    this.scene = (this.scene + 1) % SCENES;
  }

  /** @param {FromWorker} message */
  async #hear(message) {
    switch (message.type) {
      case "ready":
        this.state = "ready";
        this.engine = message.engine;
        // Not sooner: a stream that is on its way to a worker may lose frames.
        if (this.track !== null) this.#feed(this.track);
        this.events.onChange();
        break;
      case "failed":
        this.fail(message.problem);
        break;
      case "taken":
        this.#judge(message);
        break;
      case "motion":
        this.events.onMotion(message);
        break;
      case "offer": {
        const { index, scene, image } = message;
        const source = { index, scene, image, sha256: await sha256(image) };
        if (scene !== this.scene) break; // forgotten while it was on its way
        this.sources.set(source.index, source);
        this.events.onSource(source);
        break;
      }
      case "window": {
        const { slot, scene, data } = message;
        const window = { slot, scene, image: new Blob([data], { type: WINDOW_TYPE }) };
        if (scene !== this.scene) break;
        this.windows.set(slot, window);
        this.events.onWindow(window);
        break;
      }
    }
  }

  /** @param {{steps: {[name: string]: number}, present: boolean, several: boolean}} taken */
  #judge({ steps, present, several }) {
    this.steps = steps;
    this.takenAt = performance.now();
    const changed = present !== this.present || several !== this.several;
    [this.present, this.several] = [present, several];
    const problem = this.fitness.judge(present || this.sources.size > 0, steps["frame"], this.takenAt / 1000);
    if (problem !== null) this.fail(problem);
    else if (changed) this.events.onChange();
  }

  /** @param {string} problem why motion cannot be sent, in words */
  fail(problem) {
    this.stop();
    this.state = "failed";
    this.problem = problem;
    this.events.onChange();
  }

  /** @param {MediaStreamTrack} track */
  #feed(track) {
    const Processor = /** @type {any} */ (globalThis).MediaStreamTrackProcessor;
    if (Processor) {
      const { readable } = new Processor({ track, maxBufferSize: 1 });
      this.#tell({ type: "frames", stream: readable }, [readable]);
      return;
    }
    this.#tell({ type: "frames", stream: null });
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.srcObject = new MediaStream([track]);
    let ended = false;
    const take = (/** @type {number} */ _now, /** @type {VideoFrameCallbackMetadata} */ metadata) => {
      if (ended) return;
      const frame = new VideoFrame(video, { timestamp: Math.round(1e6 * metadata.mediaTime) });
      this.#tell({ type: "frame", frame }, [frame]);
      video.requestVideoFrameCallback(take);
    };
    video.requestVideoFrameCallback(take);
    void video.play().catch(() => undefined);
    this.stopFrames = () => {
      ended = true;
      video.srcObject = null;
    };
  }

  /**
   * @param {ToWorker} message
   * @param {Transferable[]} [transferred]
   */
  #tell(message, transferred = []) {
    this.worker?.postMessage(message, transferred);
  }
}

/** WebGPU where the browser has a real one, and WASM after it. */
async function preferredEngines() {
  /** @type {Engine[]} */
  const engines = ["wasm"];
  const gpu = /** @type {any} */ (navigator).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  if (adapter && !adapter.isFallbackAdapter && !adapter.info?.isFallbackAdapter) engines.unshift("webgpu");
  return engines;
}

/** @param {Blob} image */
async function sha256(image) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await image.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
