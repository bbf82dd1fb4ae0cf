// @ts-check
/** Messages of the data channel `motion`: their bytes (docs/protocol.md, "Motion messages"). Big-endian. */
import { BitstreamError } from "./error.js";
import { MAX_STEP_INDEX, MIN_STEP_INDEX } from "./quantise.js";

const VERSION = 3;
const MOTION = (VERSION << 4) | 1;
const ACKNOWLEDGEMENT = (VERSION << 4) | 2;
const REFRESH = (VERSION << 4) | 3;

/** Stays under the usual path MTU with all headers, so that it is never fragmented. */
export const MAX_MESSAGE_BYTES = 1100;
export const MAX_FRAMES = 32;
export const MAX_REFERENCE_DISTANCE = 255;
export const MOTION_HEADER_BYTES = 13;

/**
 * @typedef {object} MotionMessage consecutive frames; the first is predicted from an older one or from nothing
 * @property {number} source 0 ... 255, the sender's source image that these frames drive
 * @property {number} epoch 0 ... 65535, of one encoder
 * @property {number} sequence 0 ... 65535, number of the first frame; wraps
 * @property {number} reference frames back to what the first is predicted from, 1 ... 255; 0: from nothing
 * @property {number} stepIndex -24 ... 24
 * @property {number} frames 1 ... 32
 * @property {number} captureMs uint32 of the sender's clock, of the first frame; wraps
 * @property {Uint8Array} payload
 *
 * @typedef {{kind: "acknowledgement", epoch: number, sequence: number, received: number}} Acknowledgement received: uint32,
 *   bit i: frame sequence - 1 - i was decoded too
 * @typedef {{kind: "refresh", epoch: number, sequence: number}} RefreshRequest
 */

/** @param {Uint8Array} data */
function viewOf(data) {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * @param {MotionMessage} message
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function serializeMotion(message) {
  const data = new Uint8Array(MOTION_HEADER_BYTES + message.payload.length);
  const view = viewOf(data);
  view.setUint8(0, MOTION);
  view.setUint8(1, message.source);
  view.setUint16(2, message.epoch);
  view.setUint16(4, message.sequence);
  view.setUint8(6, message.reference);
  view.setInt8(7, message.stepIndex);
  view.setUint8(8, message.frames);
  view.setUint32(9, message.captureMs);
  data.set(message.payload, MOTION_HEADER_BYTES);
  return data;
}

/**
 * Throws BitstreamError.
 * @param {Uint8Array} data
 * @returns {MotionMessage}
 */
export function parseMotion(data) {
  if (data.length < MOTION_HEADER_BYTES || data.length > MAX_MESSAGE_BYTES) {
    throw new BitstreamError(`a motion message cannot have ${data.length} bytes`);
  }
  const view = viewOf(data);
  const frames = view.getUint8(8);
  const stepIndex = view.getInt8(7);
  if (view.getUint8(0) !== MOTION) throw new BitstreamError(`not a motion message of version ${VERSION}`);
  if (frames < 1 || frames > MAX_FRAMES) throw new BitstreamError(`a motion message cannot hold ${frames} frames`);
  if (stepIndex < MIN_STEP_INDEX || stepIndex > MAX_STEP_INDEX) throw new BitstreamError(`step index ${stepIndex} is out of range`);
  return {
    source: view.getUint8(1),
    epoch: view.getUint16(2),
    sequence: view.getUint16(4),
    reference: view.getUint8(6),
    stepIndex,
    frames,
    captureMs: view.getUint32(9),
    payload: data.subarray(MOTION_HEADER_BYTES),
  };
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
  if (data.length === 5 && data[0] === REFRESH) return { kind: "refresh", epoch: view.getUint16(1), sequence: view.getUint16(3) };
  throw new BitstreamError("neither an acknowledgement nor a refresh request");
}

/**
 * @param {Acknowledgement | RefreshRequest} answer
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function serializeAnswer(answer) {
  const acknowledgement = answer.kind === "acknowledgement";
  const data = new Uint8Array(acknowledgement ? 9 : 5);
  const view = viewOf(data);
  view.setUint8(0, acknowledgement ? ACKNOWLEDGEMENT : REFRESH);
  view.setUint16(1, answer.epoch);
  view.setUint16(3, answer.sequence);
  if (acknowledgement) view.setUint32(5, answer.received);
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
