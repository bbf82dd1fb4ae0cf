// @ts-check
/**
 * What a connection needs to publish motion: the data channels `motion` and `control`, and the uploads beside them, which go
 * by HTTP (docs/protocol.md).
 */
import { MotionEncoder } from "../codec/encoder.js";
import { MotionStatistics } from "../codec/statistics.js";
import { ControlChannel } from "./control.js";
import { builtAddress, builtJson, loadArrays } from "./model.js";
import { PingRhythm } from "./ping_rhythm.js";
import { MotionPublisher } from "./publisher.js";
import { Uploads } from "./uploads.js";
import { PACKET_MS } from "./voice_trailer.js";

/**
 * @typedef {import("./voice_carrier.js").VoiceCarrier} VoiceCarrier
 * @typedef {import("./motion_camera.js").MotionCamera} MotionCamera
 * @typedef {import("./motion_camera.js").MotionSample} MotionSample
 * @typedef {import("./motion_camera.js").SourceImage} SourceImage
 * @typedef {import("./motion_camera.js").WindowUpload} WindowUpload
 * @typedef {import("./control.js").Msgpack} Msgpack
 *
 * @typedef {import("./uploads.js").Place} Place
 * @typedef {{weights: string, statistics: MotionStatistics, msgpack: Msgpack}} Tools weights: SHA-256 of those whose motion it is
 */

const TICK_MS = 1000;
/** Of a packet's first sample when it leaves: the packet's length, and the Opus encoder's look-ahead (RFC 6716 section 2). */
const SOUND_AGE_MS = PACKET_MS + 6.5;

/** @type {Promise<Tools> | null} */
let tools = null;

/**
 * Loaded once, before the first link.
 * @returns {Promise<Tools>}
 */
export function motionTools() {
  tools ??= load();
  return tools;
}

/** @returns {Promise<Tools>} */
async function load() {
  const [runtime, manifest] = await Promise.all([builtJson("runtime.json"), builtJson("manifest.json")]);
  const [msgpack, arrays] = await Promise.all([import(builtAddress(`${runtime.msgpack}/index.mjs`)), loadArrays(manifest)]);
  const { mean, importance, units, widths, basis } = arrays;
  const statistics = new MotionStatistics({ mean, importance, units, widths, basis });
  return { weights: manifest.weights, statistics, msgpack: { encode: (value) => msgpack.encode(value), decode: (data) => msgpack.decode(data) } };
}

/** The sender's clock: the worker's frames are timed by the same one. */
function clockMs() {
  return performance.timeOrigin + performance.now();
}

/** The sources that a receiver is known to have, by hash: they outlive a connection. @type {Set<string>} */
const uploaded = new Set();

export class MotionLink {
  /**
   * @param {RTCPeerConnection} connection not yet offered
   * @param {MotionCamera} camera
   * @param {VoiceCarrier | null} carrier
   * @param {Place} place
   * @param {Tools} tools
   * @param {(problem: string) => void} onProblem
   */
  constructor(connection, camera, carrier, place, { weights, statistics, msgpack }, onProblem) {
    this.camera = camera;
    this.weights = weights;
    this.uploads = new Uploads(place, (refusal) => onProblem(`Others do not see your face yet: ${refusal}`));
    this.onProblem = onProblem;
    this.closed = false;
    this.carrier = carrier;
    this.rhythm = new PingRhythm();
    this.heardAt = performance.now();
    this.count = 0;
    this.encodeMs = 0;
    /** @type {boolean | null} */
    this.paused = null;
    /** Indices that the receiver has over this connection. @type {Set<number>} */
    this.placed = new Set();
    const motion = connection.createDataChannel("motion", { ordered: false, maxRetransmits: 0 });
    const control = connection.createDataChannel("control");
    motion.binaryType = control.binaryType = "arraybuffer";
    const epoch = crypto.getRandomValues(new Uint16Array(1))[0];
    this.publisher = new MotionPublisher(new MotionEncoder(statistics, epoch), motion);
    this.control = new ControlChannel(control, msgpack);
    motion.addEventListener("message", ({ data }) => {
      this.heardAt = performance.now();
      this.publisher.receive(data);
    });
    motion.addEventListener("bufferedamountlow", () => this.publisher.drained(performance.now()));
    control.addEventListener("message", ({ data }) => this.#hear(data));
    control.addEventListener("open", () => {
      this.timer = setInterval(() => this.#beat(), TICK_MS);
      this.#beat();
      // The PUTs of those that came before could not be announced.
      const offered = Promise.all([...this.camera.sources.values()].map((source) => this.offer(source)));
      void offered.then(() => this.camera.windows.forEach((window) => this.offerWindow(window)));
    });
  }

  /** @param {MotionSample} sample */
  publish(sample) {
    if (!this.placed.has(sample.source)) return; // the receiver could not show it
    const began = performance.now();
    this.publisher.publish(sample, began);
    this.encodeMs = performance.now() - began;
  }

  /** Lets the receiver know that no frames come for a while, or that they do again. */
  updatePresence() {
    const paused = !this.camera.flowing;
    if (paused === this.paused || this.control.channel.readyState !== "open") return;
    this.paused = paused;
    if (paused) this.publisher.pause(performance.now());
    this.control.send({ t: "state", paused });
  }

  /** From now on motion travels behind the voice. */
  ride() {
    this.carrier?.begin(() => this.publisher.takeTrailer(performance.now()));
  }

  /**
   * Brings a source image to the receiver: by its name where the receiver should have it, else by upload.
   * @param {SourceImage} source
   */
  async offer(source) {
    if (this.control.channel.readyState !== "open") return; // offered once it is
    let refusal = null;
    if (!(uploaded.has(source.sha256) && (await this.uploads.source(source, true)) === null)) refusal = await this.uploads.source(source, false);
    if (this.closed || this.camera.sources.get(source.index) !== source) return;
    if (refusal === null) {
      uploaded.add(source.sha256);
      this.placed.add(source.index);
      this.control.send({ t: "source", index: source.index, sha256: source.sha256 });
    } else this.onProblem(`Your picture was not taken: ${refusal}`);
    this.camera.answer(source.index, refusal === null);
  }

  /**
   * Brings a window to the receiver in the background.
   * @param {WindowUpload} window
   */
  offerWindow(window) {
    if (this.closed || this.control.channel.readyState !== "open") return; // offered once it is
    if (this.camera.windows.get(window.slot) === window) this.uploads.window(window);
  }

  close() {
    this.closed = true;
    this.uploads.close();
    clearInterval(this.timer);
    this.carrier?.close();
  }

  /** kbit/s of motion with all headers. */
  get wireKbps() {
    return this.publisher.wire.kbps(performance.now());
  }

  /** kbit/s of motion as payload. */
  get payloadKbps() {
    return this.publisher.payload.kbps(performance.now());
  }

  #beat() {
    this.updatePresence();
    if (!this.rhythm.due(performance.now() - this.heardAt)) return;
    this.count += 1;
    this.control.send({ t: "ping", n: this.count, ms: clockMs() });
    if (this.camera.steps["frame"]) this.control.send({ t: "stages", extract: this.camera.steps["frame"], encode: this.encodeMs, audio: SOUND_AGE_MS });
  }

  /** @param {unknown} data */
  #hear(data) {
    this.heardAt = performance.now();
    const message = this.control.parse(data);
    if (message?.t === "ping") this.control.send({ t: "pong", n: message.n, ms: message.ms, peer_ms: clockMs() });
    else if (message?.t === "need_source") {
      uploaded.delete(message.sha256);
      for (const source of this.camera.sources.values()) if (source.sha256 === message.sha256) void this.offer(source);
    }
  }
}
