// @ts-check
/**
 * The worker that turns a camera's frames into motion, so that the page stays smooth and a hidden tab goes on. Frames come by
 * MediaStreamTrackProcessor, or one by one from the page; of those that wait only the newest is taken.
 */
import { AlignmentLink } from "./alignment_link.js";
import { Extraction } from "./extraction.js";
import { loadModel, UnavailableError } from "./model.js";
import { StepTimes } from "./step_times.js";
import { encodeWindow } from "./window_bytes.js";

/**
 * @typedef {import("./model.js").Engine} Engine
 *
 * @typedef {{type: "start", engines: Engine[], threads: number, scene: number}
 *   | {type: "frames", stream: ReadableStream<VideoFrame> | null}
 *   | {type: "frame", frame: VideoFrame}
 *   | {type: "sources", scene: number}
 *   | {type: "answer", index: number, taken: boolean}
 *   | {type: "end"}} ToWorker
 *
 * @typedef {{type: "ready", engine: Engine, threads: number}
 *   | {type: "failed", problem: string}
 *   | {type: "taken", milliseconds: number, steps: {[name: string]: number}, present: boolean, several: boolean}
 *   | {type: "motion", vector: Float32Array, source: number, capturedMs: number}
 *   | {type: "offer", index: number, scene: number, image: Blob}
 *   | {type: "window", slot: number, scene: number, data: Uint8Array<ArrayBuffer>}} FromWorker capturedMs: of the clock that performance.timeOrigin begins
 */

const worker = /** @type {DedicatedWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));

/** @type {Extraction | null} */
let extraction = null;
/** @type {AlignmentLink | null} */
let aligner = null;
/** With the time at which it came. @type {{frame: VideoFrame, at: number} | null} */
let waiting = null;
let busy = false;
/** Of the sources that are chosen, also before there is an extraction. */
let scene = 0;
/** Whether this browser writes windows. */
let writesWindows = true;
/** Until no stream is read any more. @type {Promise<unknown>} */
let reading = Promise.resolve();
/** Of the frames that are read; another camera's take its place. */
let generation = 0;
/** @type {{[name: string]: number}} */
let networkTimes = {};
const times = new StepTimes();
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });

/** @param {FromWorker} message */
function tell(message) {
  worker.postMessage(message);
}

worker.addEventListener("message", (/** @type {MessageEvent<ToWorker>} */ { data }) => {
  switch (data.type) {
    case "start":
      scene = data.scene;
      void start(data.engines, data.threads);
      break;
    case "frames":
      generation += 1;
      reading = Promise.all([reading, data.stream ? read(data.stream, generation) : null]);
      break;
    case "frame":
      take(data.frame);
      break;
    case "sources":
      scene = data.scene;
      extraction?.forgetSources(scene);
      break;
    case "answer":
      extraction?.selection.answer(data.index, data.taken);
      break;
    case "end":
      void end();
      break;
  }
});

/** Milliseconds of a frame's two networks, beyond which the next engine is tried: a GPU may take long to answer. */
const SLOW_MS = 30;

/**
 * The first engine that can run the networks, gets them right, and soon; the last one in any case.
 * @param {Engine[]} engines
 * @param {number} threads
 */
async function start(engines, threads) {
  let problem = "";
  for (const engine of engines) {
    try {
      const loaded = await loadModel(engine, threads);
      const milliseconds = loaded.milliseconds["landmarks"] + loaded.milliseconds["motion"];
      if (milliseconds > SLOW_MS && engine !== engines.at(-1)) {
        console.info(`motion with ${engine}: ${milliseconds.toFixed(0)} ms a frame`);
        continue;
      }
      networkTimes = loaded.milliseconds;
      aligner = alignerWith(engine);
      extraction = new Extraction(loaded.model, aligner, scene);
      tell({ type: "ready", engine, threads });
      return;
    } catch (error) {
      problem = error instanceof UnavailableError ? error.message : "The networks do not run in this browser.";
      console.info(`motion with ${engine}: ${error}`);
    }
  }
  tell({ type: "failed", problem });
}

/**
 * Begins a worker that aligns; null where a worker has no workers.
 * @param {Engine} engine
 */
function alignerWith(engine) {
  if (typeof Worker === "undefined") return null;
  const port = new Worker(new URL("./alignment_worker.js", import.meta.url), { type: "module" });
  port.postMessage({ type: "start", engines: engine === "wasm" ? [engine] : [engine, "wasm"] });
  return new AlignmentLink(port);
}

/**
 * @param {ReadableStream<VideoFrame>} stream
 * @param {number} own generation
 */
async function read(stream, own) {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    if (own !== generation) {
      value.close();
      await reader.cancel();
      return;
    }
    take(value);
  }
}

/**
 * Closes every frame before the worker ends: one that is left to the garbage collector keeps its buffer from the camera, and
 * the browser complains.
 */
async function end() {
  generation += 1;
  waiting?.frame.close();
  waiting = null;
  await reading;
  worker.close();
}

/** @param {VideoFrame} frame */
function take(frame) {
  waiting?.frame.close();
  waiting = { frame, at: performance.now() };
  void next();
}

async function next() {
  if (busy || extraction === null) return;
  busy = true;
  try {
    while (waiting !== null) {
      const { frame, at } = waiting;
      waiting = null;
      await step(extraction, frame, at);
    }
  } catch (error) {
    console.error(error);
    tell({ type: "failed", problem: "Sending motion stopped by an error of the page." });
    extraction = null;
  } finally {
    busy = false;
  }
}

/**
 * @param {Extraction} extraction
 * @param {VideoFrame} frame
 * @param {number} at when it came
 */
async function step(extraction, frame, at) {
  const began = performance.now();
  const [width, height] = [frame.displayWidth, frame.displayHeight];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const target = /** @type {OffscreenCanvasRenderingContext2D} */ (context);
  try {
    target.drawImage(frame, 0, 0);
  } finally {
    frame.close();
  }
  const { data } = target.getImageData(0, 0, width, height);
  const drawn = performance.now();
  for (const name of Object.keys(networkTimes)) delete networkTimes[name];
  const extracted = await extraction.step({ width, height, data }, at / 1000);
  const ended = performance.now();
  times.add({ pixels: drawn - began, ...networkTimes, frame: ended - began });
  tell({ type: "taken", milliseconds: ended - began, steps: stepTimes(), present: extracted.present, several: extracted.several });
  if (extracted.motion !== null) {
    const { vector, source } = extracted.motion;
    tell({ type: "motion", vector, source, capturedMs: performance.timeOrigin + at });
  }
  if (extracted.offer !== null) await offer(extracted.offer);
  // The frame is on its way.
  const window = writesWindows ? extraction.chooseWindow() : null;
  if (window !== null) await send(extraction, window);
}

/** Median milliseconds of a frame's steps, and those of the last alignment, which is beside them. */
function stepTimes() {
  const alignment = aligner?.milliseconds ?? null;
  return alignment === null ? times.medians() : { ...times.medians(), alignment };
}

/**
 * @param {Extraction} extraction
 * @param {import("./extraction.js").WindowOffer} offered
 */
async function send(extraction, offered) {
  try {
    const data = await encodeWindow(offered.window);
    if (data === null) writesWindows = false;
    else if (extraction.windowSent(offered, data.length)) tell({ type: "window", slot: offered.slot, scene: offered.scene, data });
  } catch (error) {
    console.info(`a window is left out: ${error}`); // the picture is as good as before
  }
}

/** @param {{index: number, scene: number, picture: import("./region.js").Frame}} offered */
async function offer({ index, scene, picture }) {
  const drawing = new OffscreenCanvas(picture.width, picture.height);
  const pixels = new ImageData(Uint8ClampedArray.from(picture.data), picture.width, picture.height);
  drawing.getContext("2d")?.putImageData(pixels, 0, 0);
  // A browser that cannot write WebP gives PNG.
  tell({ type: "offer", index, scene, image: await drawing.convertToBlob({ type: "image/webp", quality: 0.9 }) });
}
