// @ts-check
/** What getStats, requestVideoFrameCallback and the server's statistics say, turned into the numbers that are shown. Pure. */

/**
 * @typedef {object} Snapshot counters of one receiving connection at one time
 * @property {number} at ms
 * @property {number} bytes of the picture's RTP payload
 * @property {number} headerBytes of its RTP headers
 * @property {number} packets
 * @property {number} lost
 * @property {number} framesDecoded
 * @property {number} freezes
 * @property {number} freezeSeconds
 * @property {number} bufferSeconds summed over all frames that left the jitter buffer
 * @property {number} bufferFrames
 * @property {number} decodeSeconds
 * @property {number | null} roundTripMs
 * @property {number} audioLevel in [0, 1]
 * @property {number} width px
 * @property {number} height px
 */

/**
 * @param {Iterable<any>} report the values of an RTCStatsReport
 * @param {number} at ms
 * @returns {Snapshot}
 */
export function snapshot(report, at) {
  /** @type {Snapshot} */
  const taken = {
    at,
    bytes: 0,
    headerBytes: 0,
    packets: 0,
    lost: 0,
    framesDecoded: 0,
    freezes: 0,
    freezeSeconds: 0,
    bufferSeconds: 0,
    bufferFrames: 0,
    decodeSeconds: 0,
    roundTripMs: null,
    audioLevel: 0,
    width: 0,
    height: 0,
  };
  for (const entry of report) {
    if (entry.type === "inbound-rtp" && entry.kind === "video") {
      taken.bytes = entry.bytesReceived ?? 0;
      taken.headerBytes = entry.headerBytesReceived ?? 0;
      taken.packets = entry.packetsReceived ?? 0;
      taken.lost = entry.packetsLost ?? 0;
      taken.framesDecoded = entry.framesDecoded ?? 0;
      taken.freezes = entry.freezeCount ?? 0;
      taken.freezeSeconds = entry.totalFreezesDuration ?? 0;
      taken.bufferSeconds = entry.jitterBufferDelay ?? 0;
      taken.bufferFrames = entry.jitterBufferEmittedCount ?? 0;
      taken.decodeSeconds = entry.totalDecodeTime ?? 0;
      taken.width = entry.frameWidth ?? 0;
      taken.height = entry.frameHeight ?? 0;
    } else if (entry.type === "inbound-rtp" && entry.kind === "audio") {
      taken.audioLevel = entry.audioLevel ?? 0;
    } else if (entry.type === "candidate-pair" && entry.nominated && entry.currentRoundTripTime !== undefined) {
      taken.roundTripMs = entry.currentRoundTripTime * 1000;
    }
  }
  return taken;
}

/**
 * @typedef {object} Received what a viewer's own connection did between two snapshots
 * @property {number} fps decoded
 * @property {number} kbps RTP payload of the picture
 * @property {number} lossPercent
 * @property {number} freezes since the connection began
 * @property {number | null} bufferMs mean time in the jitter buffer
 * @property {number | null} decodeMs mean
 * @property {number | null} networkMs one way, taken as half of the round trip
 * @property {number} width px
 * @property {number} height px
 */

/**
 * @param {Snapshot} before
 * @param {Snapshot} after
 * @returns {Received}
 */
export function between(before, after) {
  const seconds = Math.max(1e-3, (after.at - before.at) / 1000);
  const frames = Math.max(0, after.framesDecoded - before.framesDecoded);
  const buffered = after.bufferFrames - before.bufferFrames;
  const lost = Math.max(0, after.lost - before.lost);
  const expected = lost + Math.max(0, after.packets - before.packets);
  return {
    fps: frames / seconds,
    kbps: (Math.max(0, after.bytes - before.bytes) * 8) / 1000 / seconds,
    lossPercent: expected ? (100 * lost) / expected : 0,
    freezes: after.freezes,
    bufferMs: buffered > 0 ? (1000 * (after.bufferSeconds - before.bufferSeconds)) / buffered : null,
    decodeMs: frames > 0 ? (1000 * (after.decodeSeconds - before.decodeSeconds)) / frames : null,
    networkMs: after.roundTripMs === null ? null : after.roundTripMs / 2,
    width: after.width,
    height: after.height,
  };
}

/** Time from a frame's last packet to its light on the screen, the median of the latest frames. */
export class DisplayDelay {
  /** @param {number} keep */
  constructor(keep = 50) {
    this.keep = keep;
    /** @type {number[]} */
    this.delays = [];
  }

  /** @param {{receiveTime?: number, expectedDisplayTime?: number}} metadata of requestVideoFrameCallback; ms */
  add({ receiveTime, expectedDisplayTime }) {
    if (receiveTime === undefined || expectedDisplayTime === undefined) return;
    const delay = expectedDisplayTime - receiveTime;
    if (!(delay >= 0 && delay < 10_000)) return;
    this.delays.push(delay);
    if (this.delays.length > this.keep) this.delays.shift();
  }

  /** @returns {number | null} ms */
  median() {
    if (this.delays.length === 0) return null;
    const sorted = [...this.delays].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }
}

/**
 * @typedef {"sender" | "network" | "receiver" | "viewer"} Place
 * @typedef {{name: string, label: string, place: Place, ms: number}} Stage
 */

/** The stages that the server measures, in order. @type {readonly [string, string, Place][]} */
const SERVER_STAGES = [
  ["capture", "Capture", "sender"],
  ["extract", "Motion extraction", "sender"],
  ["encode", "Motion coding", "sender"],
  ["network", "Network to the server", "network"],
  ["playout", "Playout buffer", "receiver"],
  ["queue", "Waiting for a batch", "receiver"],
  ["render", "Rendering", "receiver"],
  ["video_encode", "Video coding", "receiver"],
];

/**
 * Latency of each stage from capture to screen. Stages nobody measured are left out, never guessed.
 * @param {{[stage: string]: number | null | undefined} | undefined} server ms by stage
 * @param {Received | null} received
 * @param {number | null} displayMs from the last packet to the screen
 * @returns {Stage[]}
 */
export function latencyStages(server, received, displayMs) {
  /** @type {Stage[]} */
  const stages = [];
  for (const [name, label, place] of SERVER_STAGES) {
    const ms = server?.[name];
    if (typeof ms === "number" && Number.isFinite(ms)) stages.push({ name, label, place, ms: Math.max(0, ms) });
  }
  if (received === null) return stages;
  if (received.networkMs !== null) stages.push({ name: "delivery", label: "Network to you", place: "network", ms: received.networkMs });
  if (received.bufferMs !== null) stages.push({ name: "jitter", label: "Jitter buffer", place: "viewer", ms: received.bufferMs });
  if (received.decodeMs !== null) stages.push({ name: "decode", label: "Decoding", place: "viewer", ms: received.decodeMs });
  if (displayMs !== null) {
    // The measured span contains jitter buffer and decoder as well; what is left over is the way onto the screen.
    const rest = displayMs - (received.bufferMs ?? 0) - (received.decodeMs ?? 0);
    stages.push({ name: "display", label: "Onto the screen", place: "viewer", ms: Math.max(0, rest) });
  }
  return stages;
}

/**
 * @param {readonly Stage[]} stages
 * @returns {number} ms
 */
export function totalMs(stages) {
  return stages.reduce((sum, stage) => sum + stage.ms, 0);
}

/** With fewer frames than this no 95th percentile is shown. */
const ENOUGH_FOR_A_SHARE = 20;

/**
 * What stands for the way from capture to screen, and how it was found.
 * @param {object} known
 * @param {readonly Stage[]} known.stages
 * @param {boolean} known.neural whether the capture time is known at all; a camera's is not
 * @param {import("./capture_to_screen.js").CaptureToScreen | null} known.toScreen measured frame by frame
 * @param {import("./capture_to_screen.js").Possible} known.framesAreNamed
 * @param {number} known.clockErrorMs by which the clocks of sender and page may differ at most
 * @returns {{title: string, ms: number, measured: boolean, words: string}}
 */
export function wayToScreen({ stages, neural, toScreen, framesAreNamed, clockErrorMs }) {
  const sum = totalMs(stages);
  if (!neural) return { title: "From the server to the screen", ms: sum, measured: false, words: "Sum of the stages." };
  const title = "From capture to screen";
  if (toScreen !== null) {
    const { frames, p95 } = toScreen;
    const share = frames < ENOUGH_FOR_A_SHARE ? "" : `: 95 of 100 within ${p95.toFixed(0)} ms`;
    const words = `Measured on ${frames === 1 ? "the last frame" : `each of the last ${frames} frames`}${share}. The clocks agree to ${Math.max(1, clockErrorMs).toFixed(0)} ms.`;
    return { title, ms: Math.max(0, toScreen.median), measured: true, words };
  }
  const words = framesAreNamed === "no" ? "Sum of the stages: this browser does not report which frame it shows." : "Sum of the stages, until single frames are measured.";
  return { title, ms: sum, measured: false, words };
}

/**
 * @param {number} kbps
 * @returns {string} "0.42", "3.1", "34"
 */
export function shortNumber(kbps) {
  if (!Number.isFinite(kbps)) return "–";
  if (kbps < 1) return kbps.toFixed(2);
  return kbps < 10 ? kbps.toFixed(1) : kbps.toFixed(0);
}

/**
 * How our rate stands beside H.264's, in words.
 * @param {number} payloadKbps
 * @param {number} wireKbps
 * @param {{payloadKbps: number, wireKbps: number}} other what H.264 takes for a picture as good
 */
export function comparison(payloadKbps, wireKbps, other) {
  if (!(payloadKbps > 0) || !(wireKbps > 0)) return "";
  const payload = times(other.payloadKbps / payloadKbps);
  const wire = times(other.wireKbps / wireKbps);
  return `H.264 takes about ${shortNumber(other.payloadKbps)} kbit/s for a picture as good: ${payload} the payload, ${wire} on the wire.`;
}

/** @param {number} factor */
function times(factor) {
  return `${factor < 10 ? factor.toFixed(1) : factor.toFixed(0)} times`;
}

/** The latest values of one number, for a small curve. */
export class Series {
  /** @param {number} keep */
  constructor(keep = 60) {
    this.keep = keep;
    /** @type {number[]} */
    this.values = [];
  }

  /** @param {number | null | undefined} value */
  add(value) {
    if (typeof value !== "number" || !Number.isFinite(value)) return;
    this.values.push(value);
    if (this.values.length > this.keep) this.values.shift();
  }

  /**
   * @param {number} width
   * @param {number} height
   * @returns {string} points of an SVG polyline; the scale begins at 0
   */
  points(width, height) {
    if (this.values.length < 2) return "";
    const top = Math.max(...this.values) * 1.1 || 1;
    const step = width / (this.keep - 1);
    const start = width - step * (this.values.length - 1);
    return this.values.map((value, i) => `${(start + i * step).toFixed(1)},${(height - (value / top) * height).toFixed(1)}`).join(" ");
  }
}
