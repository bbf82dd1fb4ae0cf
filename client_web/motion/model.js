// @ts-check
/**
 * Networks and constants out of `built/`, what `make web` made of the weights, each file checked by its SHA-256; and networks that
 * run in onnxruntime-web. A network whose answer to the test picture is not the one in the manifest is not used: some GPUs
 * compute some convolutions wrongly.
 */

/** @typedef {"wasm" | "webgpu"} Engine */
/** @typedef {import("./extraction.js").Model} Model */
/** @typedef {import("./detector.js").Network} Network */

/** Where `make web` puts its files, beside the page's own. */
const BUILT = new URL("../built/", import.meta.url);

/**
 * Address of a file that `make web` made.
 * @param {string} name
 */
export function builtAddress(name) {
  return new URL(name, BUILT).href;
}

/** What a browser cannot do, or a server does not offer: in words for a person. */
export class UnavailableError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "UnavailableError";
  }
}

/**
 * What `make web` wrote.
 * @param {string} name
 * @returns {Promise<any>}
 */
export async function builtJson(name) {
  const response = await fetch(builtAddress(name)).catch(() => null);
  if (response?.status === 404) throw new UnavailableError("This server was set up without what a browser needs to send motion.");
  if (!response?.ok) throw new UnavailableError("What is needed to send motion could not be fetched.");
  return response.json();
}

/**
 * @param {{file: string, sha256: string}} entry
 * @returns {Promise<ArrayBuffer>}
 */
async function builtFile({ file, sha256 }) {
  const response = await fetch(builtAddress(file)).catch(() => null);
  if (!response?.ok) throw new UnavailableError("What is needed to send motion could not be fetched.");
  const data = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== sha256) throw new UnavailableError("What is needed to send motion arrived damaged.");
  return data;
}

/**
 * The codec's statistics and other numbers.
 * @param {any} manifest
 * @returns {Promise<{[name: string]: Float32Array}>}
 */
export async function loadArrays(manifest) {
  const values = new Float32Array(await builtFile(manifest.arrays));
  return Object.fromEntries(
    Object.entries(manifest.arrays.places).map(([name, { offset, shape }]) => {
      const count = shape.reduce((/** @type {number} */ product, /** @type {number} */ side) => product * side, 1);
      return [name, values.subarray(offset, offset + count)];
    }),
  );
}

/**
 * Half precision (IEEE 754, binary16) as float32.
 * @param {Uint16Array} halves
 */
export function widened(halves) {
  const found = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const exponent = (halves[i] >> 10) & 31;
    const fraction = halves[i] & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1024 + fraction) * 2 ** (exponent - 25);
    found[i] = halves[i] & 0x8000 ? -size : size;
  }
  return found;
}

/**
 * The picture of waves on which a network is tried, `model/web_export.py`.
 * @param {number} side
 */
export function probe(side) {
  const picture = new Float32Array(3 * side * side);
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        picture[(channel * side + y) * side + x] = 0.5 + 0.5 * Math.sin(0.1 * (channel + 1) * x + 0.07 * y);
      }
    }
  }
  return picture;
}

/**
 * Loads everything. Throws UnavailableError.
 * @param {Engine} engine
 * @param {number} threads of WASM
 * @returns {Promise<{model: Model, milliseconds: {[name: string]: number}}>} with the time of the last run of each network
 */
export async function loadModel(engine, threads) {
  const [runtime, manifest] = await Promise.all([builtJson("runtime.json"), builtJson("manifest.json")]);
  const folder = builtAddress(`${runtime.onnxruntime}/`);
  const [ort, arrays] = await Promise.all([import(`${folder}ort.${engine}.bundle.min.mjs`), loadArrays(manifest)]);
  ort.env.wasm.wasmPaths = folder;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  /** @type {{[name: string]: number}} */
  const milliseconds = {};
  /** @type {{[name: string]: Network}} */
  const networks = {};
  for (const [name, entry] of Object.entries(manifest.networks)) {
    const [graph, weights] = await Promise.all([builtFile(entry), builtFile(entry.weights)]);
    const session = await ort.InferenceSession.create(new Uint8Array(graph), {
      executionProviders: [engine],
      graphOptimizationLevel: "all",
      logSeverityLevel: 3, // errors: that shapes are computed off the GPU is as it should be
      externalData: [{ path: "weights", data: new Uint8Array(widened(new Uint16Array(weights)).buffer) }],
    });
    const shape = [1, 3, entry.side, entry.side];
    networks[name] = async (picture) => {
      const began = performance.now();
      const { found } = await session.run({ picture: new ort.Tensor("float32", picture, shape) });
      const answer = Float32Array.from(found.data);
      found.dispose();
      milliseconds[name] = performance.now() - began;
      return answer;
    };
    await networks[name](probe(entry.side)); // the first run compiles what is compiled late
    const answer = await networks[name](probe(entry.side));
    const wanted = arrays[`probe.${name}`];
    if (!wanted.every((value, i) => Math.abs(value - answer[i]) <= entry.tolerance)) {
      throw new UnavailableError(`This device computes the network "${name}" wrongly.`);
    }
  }
  const { size, keypoints, body, guided, still } = manifest;
  const { detector, landmarks, motion, canonical } = networks;
  return { model: { networks: { detector, landmarks, motion, canonical }, size, keypoints, body, guided, still }, milliseconds };
}
