// @ts-check
/** The worker between a browser's Opus encoder and its packets: puts motion behind them (RTCRtpScriptTransform). */
import { TrailerRequests } from "./trailer_requests.js";
import { withTrailer } from "./voice_trailer.js";

/** A packet is 60 ms long; the page answers in a few. */
const PATIENCE_MS = 25;

const worker = /** @type {DedicatedWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));

const requests = new TrailerRequests(
  () => worker.postMessage("packet"),
  () => new Promise((resolve) => setTimeout(resolve, PATIENCE_MS)),
);

/** Whether the server takes trailers; until then packets pass as they are. */
let begun = false;

worker.addEventListener("message", (/** @type {MessageEvent<Uint8Array | "begin">} */ { data }) => {
  if (data === "begin") begun = true;
  else requests.answer(data);
});

worker.addEventListener("rtctransform", (event) => {
  const { readable, writable } = /** @type {any} */ (event).transformer;
  const transform = new TransformStream({
    async transform(/** @type {{data: ArrayBuffer}} */ frame, controller) {
      if (begun) frame.data = withTrailer(new Uint8Array(frame.data), await requests.take()).buffer;
      controller.enqueue(frame);
    },
  });
  worker.postMessage("attached");
  // The connection was closed: there is nothing left to carry.
  void readable.pipeThrough(transform).pipeTo(writable).catch(() => undefined);
});

worker.postMessage("ready");
