// @ts-check
/** Messages of motion: their bytes (docs/protocol.md, "Motion messages"). Big-endian. */
import { cumulative, decodeLaplace, encodeLaplace, RangeDecoder, RangeEncoder } from "./entropy.js";
import { BitstreamError } from "./error.js";
import { MAX_STEP_INDEX, MIN_STEP_INDEX } from "./quantise.js";

const VERSION = 4;
const MOTION = (VERSION << 4) | 1;
const ACKNOWLEDGEMENT = (VERSION << 4) | 2;
const REFRESH = (VERSION << 4) | 3;
const SHORT_MOTION = (VERSION << 4) | 4;

/** Stays under the usual path MTU with all headers, so that it is never fragmented. */
export const MAX_MESSAGE_BYTES = 1100;
export const MAX_FRAMES = 32;
export const MAX_REFERENCE_DISTANCE = 255;
/** Longest time between a frame and what it is predicted from, where the message has no other time for it. */
export const MAX_INTERVAL_MS = 65535;
/** The most that a header takes as long as what the range coder has of it is usual. */
export const MOTION_HEADER_BYTES = 12;

const FIELDS_BYTES = 9;
const SHORT_FIELDS_BYTES = 4;

const FRAMES = cumulative([40013, 16000, 3000, 1500, 1000, ...new Array(27).fill(149)]);
/** Bit 0: the step is not the reference's; bit 1: the source image is not. */
const INHERITED = cumulative([60000, 4000, 1000, 536]);
const STEP_BITS = 6;
const SOURCE_BITS = 8;
const REFERENCE_BITS = 8;
const USUAL_DISTANCE = 6;
const DISTANCE_WIDTH = 24;
const USUAL_INTERVAL_MS = 36;
const ELAPSED_WIDTH = 37;

/**
 * @typedef {object} MotionMessage consecutive frames without their levels; the first is predicted from an older one or from nothing
 * @property {number} epoch 0 ... 65535, of one encoder; of a short message, the low eight bits
 * @property {number} sequence 0 ... 65535, number of the first frame; wraps
 * @property {number} reference frames back to what the first is predicted from, 1 ... 255; 0: from nothing
 * @property {number} frames 1 ... 32
 * @property {number | null} source 0 ... 255, the sender's source image that these frames drive; null: the reference's
 * @property {number | null} stepIndex -24 ... 24; null: the reference's
 * @property {number | null} captureMs uint32 of the sender's clock, of the first frame; wraps; null: a short message
 * @property {number} elapsedMs 0 ... 65535 since the reference's capture, of a short message
 *
 * @typedef {{kind: "acknowledgement", epoch: number, sequence: number, received: number}} Acknowledgement received: uint32,
 *   bit i: frame sequence - 1 - i was decoded too
 * @typedef {{kind: "refresh", epoch: number, sequence: number}} RefreshRequest epoch: the low eight bits
 */

/** @param {Uint8Array} data */
function viewOf(data) {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * @param {MotionMessage} message
 * @param {(coder: RangeEncoder) => void} writeFrames writes the frames behind what the range coder has of the header
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function writeMotion(message, writeFrames) {
  const coder = new RangeEncoder();
  const { captureMs, source, stepIndex } = message;
  coder.encode(FRAMES[message.frames - 1], FRAMES[message.frames]);
  if (captureMs !== null && source !== null && stepIndex !== null) {
    coder.encodeBits(source, SOURCE_BITS);
    coder.encodeBits(message.reference, REFERENCE_BITS);
    coder.encodeBits(stepIndex - MIN_STEP_INDEX, STEP_BITS);
  } else {
    encodeLaplace(coder, message.reference - USUAL_DISTANCE, DISTANCE_WIDTH);
    encodeLaplace(coder, message.elapsedMs - USUAL_INTERVAL_MS * message.reference, ELAPSED_WIDTH);
    const changed = (stepIndex === null ? 0 : 1) + (source === null ? 0 : 2);
    coder.encode(INHERITED[changed], INHERITED[changed + 1]);
    if (stepIndex !== null) coder.encodeBits(stepIndex - MIN_STEP_INDEX, STEP_BITS);
    if (source !== null) coder.encodeBits(source, SOURCE_BITS);
  }
  writeFrames(coder);
  const coded = coder.finish();
  const size = captureMs === null ? SHORT_FIELDS_BYTES : FIELDS_BYTES;
  const data = new Uint8Array(size + coded.length);
  const view = viewOf(data);
  if (captureMs === null) {
    view.setUint8(0, SHORT_MOTION);
    view.setUint8(1, message.epoch & 0xff);
    view.setUint16(2, message.sequence);
  } else {
    view.setUint8(0, MOTION);
    view.setUint16(1, message.epoch);
    view.setUint16(3, message.sequence);
    view.setUint32(5, captureMs);
  }
  data.set(coded, size);
  return data;
}

/**
 * Throws BitstreamError.
 * @param {Uint8Array} data
 * @returns {{message: MotionMessage, coder: RangeDecoder}} the frames are to be read from the coder
 */
export function openMotion(data) {
  const short = data[0] === SHORT_MOTION;
  if (!short && data[0] !== MOTION) throw new BitstreamError(`not a motion message of version ${VERSION}`);
  const size = short ? SHORT_FIELDS_BYTES : FIELDS_BYTES;
  if (data.length < size || data.length > MAX_MESSAGE_BYTES) throw new BitstreamError(`a motion message cannot have ${data.length} bytes`);
  const view = viewOf(data);
  const coder = new RangeDecoder(data.subarray(size));
  const frames = coder.decode(FRAMES) + 1;
  if (!short) {
    const source = coder.decodeBits(SOURCE_BITS);
    const reference = coder.decodeBits(REFERENCE_BITS);
    const stepIndex = readStep(coder);
    const [epoch, sequence, captureMs] = [view.getUint16(1), view.getUint16(3), view.getUint32(5)];
    return { message: { epoch, sequence, reference, frames, source, stepIndex, captureMs, elapsedMs: 0 }, coder };
  }
  const reference = USUAL_DISTANCE + decodeLaplace(coder, DISTANCE_WIDTH);
  if (reference < 1 || reference > MAX_REFERENCE_DISTANCE) throw new BitstreamError(`a reference ${reference} frames back is out of reach`);
  const elapsedMs = USUAL_INTERVAL_MS * reference + decodeLaplace(coder, ELAPSED_WIDTH);
  if (elapsedMs < 0 || elapsedMs > MAX_INTERVAL_MS) throw new BitstreamError("a reference out of reach in time");
  const changed = coder.decode(INHERITED);
  const stepIndex = changed % 2 === 1 ? readStep(coder) : null;
  const source = changed >= 2 ? coder.decodeBits(SOURCE_BITS) : null;
  const [epoch, sequence] = [view.getUint8(1), view.getUint16(2)];
  return { message: { epoch, sequence, reference, frames, source, stepIndex, captureMs: null, elapsedMs }, coder };
}

/** @param {RangeDecoder} coder */
function readStep(coder) {
  const stepIndex = coder.decodeBits(STEP_BITS) + MIN_STEP_INDEX;
  if (stepIndex > MAX_STEP_INDEX) throw new BitstreamError(`step index ${stepIndex} is out of range`);
  return stepIndex;
}

/**
 * What a decoder sends back. Throws BitstreamError when it is neither.
 * @param {Uint8Array} data
 * @returns {Acknowledgement | RefreshRequest}
 */
export function parseAnswer(data) {
  const view = viewOf(data);
  if (data.length === 9 && data[0] === ACKNOWLEDGEMENT) {
    return { kind: "acknowledgement", epoch: view.getUint16(1), sequence: view.getUint16(3), received: view.getUint32(5) };
  }
  if (data.length === 4 && data[0] === REFRESH) return { kind: "refresh", epoch: view.getUint8(1), sequence: view.getUint16(2) };
  throw new BitstreamError("neither an acknowledgement nor a refresh request");
}

/**
 * @param {Acknowledgement | RefreshRequest} answer
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function serializeAnswer(answer) {
  const acknowledgement = answer.kind === "acknowledgement";
  const data = new Uint8Array(acknowledgement ? 9 : 4);
  const view = viewOf(data);
  view.setUint8(0, acknowledgement ? ACKNOWLEDGEMENT : REFRESH);
  if (acknowledgement) {
    view.setUint16(1, answer.epoch);
    view.setUint16(3, answer.sequence);
    view.setUint32(5, answer.received);
  } else {
    view.setUint8(1, answer.epoch & 0xff);
    view.setUint16(2, answer.sequence);
  }
  return data;
}

/**
 * Later - earlier of wrapping 16-bit numbers (RFC 1982).
 * @param {number} later
 * @param {number} earlier
 * @returns {number} -32768 ... 32767
 */
export function sequenceDistance(later, earlier) {
  return ((later - earlier + 0x8000) & 0xffff) - 0x8000;
}
