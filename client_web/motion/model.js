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
 * Values on which a network is tried, `model/web_export.py`: waves.
 * @param {number[]} shape
 * @param {number} begin
 */
export function probe(shape, begin) {
  const count = shape.reduce((product, side) => product * side, 1);
  const [height, width] = shape.length === 4 ? shape.slice(2) : [1, count];
  return Float32Array.from({ length: count }, (_, i) => {
    const [x, y, channel] = [i % width, Math.floor(i / width) % height, Math.floor(i / (width * height))];
    return 0.5 + 0.5 * Math.sin(0.1 * (channel + 1) * x + 0.07 * y + begin);
  });
}

/**
 * @typedef {object} Loaded
 * @property {any} manifest
 * @property {{[name: string]: Network}} networks
 * @property {{[name: string]: number}} milliseconds of the last run of each network
 */

/**
 * Loads networks. Throws UnavailableError.
 * @param {Engine} engine
 * @param {number} threads of WASM
 * @param {string[]} names
 * @returns {Promise<Loaded>}
 */
export async function loadNetworks(engine, threads, names) {
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
  for (const name of names) {
    const entry = manifest.networks[name];
    const [graph, weights] = await Promise.all([builtFile(entry), builtFile(entry.weights)]);
    const session = await ort.InferenceSession.create(new Uint8Array(graph), {
      executionProviders: [engine],
      graphOptimizationLevel: "all",
      logSeverityLevel: 3, // errors: that shapes are computed off the GPU is as it should be
      externalData: [{ path: "weights", data: new Uint8Array(widened(new Uint16Array(weights)).buffer) }],
    });
    /** @type {{name: string, shape: number[]}[]} */
    const inputs = entry.inputs;
    networks[name] = async (...given) => {
      const began = performance.now();
      const feeds = Object.fromEntries(inputs.map((input, i) => [input.name, new ort.Tensor("float32", given[i], input.shape)]));
      const { found } = await session.run(feeds);
      const answer = Float32Array.from(found.data);
      found.dispose();
      milliseconds[name] = performance.now() - began;
      return answer;
    };
    const probes = inputs.map(({ shape }, i) => probe(shape, i));
    await networks[name](...probes); // the first run compiles what is compiled late
    const answer = await networks[name](...probes);
    if (!arrays[`probe.${name}`].every((value, i) => Math.abs(value - answer[i * entry.every]) <= entry.tolerance)) {
      throw new UnavailableError(`This device computes the network "${name}" wrongly.`);
    }
  }
  return { manifest, networks, milliseconds };
}

/**
 * Loads what turns frames into motion. Throws UnavailableError.
 * @param {Engine} engine
 * @param {number} threads of WASM
 * @returns {Promise<{model: Model, milliseconds: {[name: string]: number}}>} with the time of the last run of each network
 */
export async function loadModel(engine, threads) {
  const { manifest, networks, milliseconds } = await loadNetworks(engine, threads, ["detector", "landmarks", "motion", "canonical"]);
  const { size, keypoints, body, guided, still } = manifest;
  const { detector, landmarks, motion, canonical } = networks;
  return { model: { networks: { detector, landmarks, motion, canonical }, size, keypoints, body, guided, still }, milliseconds };
}
