// @ts-check
/** The worker that aligns frames to the source image: beside the one that turns frames into motion, which shall not wait for it. */
import { KeypointAligner } from "./keypoint_aligner.js";
import { loadNetworks } from "./model.js";

/**
 * @typedef {import("./model.js").Engine} Engine
 * @typedef {import("./keypoint_aligner.js").AlignmentModel} AlignmentModel
 * @typedef {import("./keypoint_aligner.js").AlignedSource} AlignedSource
 * @typedef {import("./alignment.js").Thumbnails} Thumbnails
 *
 * @typedef {{type: "start", engines: Engine[]}
 *   | {type: "source", id: number, source: AlignedSource}
 *   | {type: "frame", id: number, thumbnails: Thumbnails, motion: Float32Array<ArrayBuffer>}} ToAligner id: of the source image
 *
 * @typedef {{type: "ready"}
 *   | {type: "failed", problem: string}
 *   | {type: "aligned", id: number, correction: Float32Array, residualFlow: Float32Array, milliseconds: number}} FromAligner
 */

const worker = /** @type {DedicatedWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));

/** @type {AlignmentModel | null} */
let model = null;
/** @type {{id: number, aligner: KeypointAligner} | null} */
let current = null;
/** Messages are dealt with one after the other. */
let last = Promise.resolve();

/** @param {FromAligner} message */
function tell(message) {
  worker.postMessage(message);
}

worker.addEventListener("message", (/** @type {MessageEvent<ToAligner>} */ { data }) => {
  last = last
    .then(() => hear(data))
    .catch((error) => {
      model = null;
      tell({ type: "failed", problem: String(error) });
    });
});

/** @param {ToAligner} message */
async function hear(message) {
  if (message.type === "start") {
    model = await firstOf(message.engines);
    tell({ type: "ready" });
  } else if (model === null) return;
  else if (message.type === "source") current = { id: message.id, aligner: await KeypointAligner.of(model, message.source) };
  else if (current?.id === message.id) {
    const began = performance.now();
    const { correction, residualFlow } = await current.aligner.follow(message.thumbnails, message.motion);
    tell({ type: "aligned", id: message.id, correction, residualFlow, milliseconds: performance.now() - began });
  }
}

/**
 * With the first engine that runs the networks and gets them right.
 * @param {Engine[]} engines
 * @returns {Promise<AlignmentModel>}
 */
async function firstOf([engine, ...others]) {
  try {
    const { manifest, networks } = await loadNetworks(engine, 1, ["features", "surface"]);
    const { keypoints, features, guided, body } = manifest;
    const counts = manifest.networks.surface.inputs.slice(3).map((/** @type {{shape: number[]}} */ { shape }) => shape.reduce((a, b) => a * b));
    return { features: networks["features"], surface: networks["surface"], counts, layout: { keypoints, features, face: guided.length, body } };
  } catch (error) {
    if (others.length === 0) throw error;
    return firstOf(others);
  }
}
