// @ts-check
/**
 * A mouth or eye window as bytes (`model/codec/window.py`; docs/protocol.md, "Windows"): where its keypoints are, then the picture, here as
 * WebP, since a canvas writes no AVIF. The first byte says which of both it is.
 */
import { MAX_WINDOW_BYTES } from "./window.js";

/**
 * @typedef {import("./mouth_window.js").MouthWindow} MouthWindow
 * @typedef {import("./eye_window.js").EyeWindow} EyeWindow
 * @typedef {(picture: import("./region.js").Frame, quality: number) => Promise<Blob>} WriteWebp a browser that cannot write WebP gives PNG
 */

/** First bytes. */
const [MOUTH, EYES] = [1, 2];
/** Bytes before the first chunk, and before what a chunk holds. */
const RIFF_BYTES = 12;
const CHUNK_BYTES = 8;
/** WebP quality at first, 0 to 1: windows are as like their pictures as in the daemon's AV1, for a quarter more bytes. */
const QUALITY = 0.82;
/** By how much less it is tried again where that takes too many bytes. */
const COARSER = 0.15;

/**
 * Where the keypoints of a window are.
 * @param {MouthWindow | EyeWindow} window
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function headerOf(window) {
  const values = "lips" in window ? [MOUTH, window.middle, window.half, ...window.lips] : [EYES, ...window.lids];
  return Uint8Array.from(values, (value) => value & 255);
}

/**
 * At most `MAX_WINDOW_BYTES`; null where the browser writes no WebP. Throws RangeError for a picture that takes more at any quality.
 * @param {MouthWindow | EyeWindow} window
 * @param {WriteWebp} [write]
 * @returns {Promise<Uint8Array<ArrayBuffer> | null>}
 */
export async function encodeWindow(window, write = drawn) {
  const header = headerOf(window);
  for (let quality = QUALITY; quality >= 0; quality -= COARSER) {
    const image = await write(window.picture, quality);
    if (image.type !== "image/webp") return null;
    const picture = bare(new Uint8Array(await image.arrayBuffer()));
    if (header.length + picture.length > MAX_WINDOW_BYTES) continue;
    const data = new Uint8Array(header.length + picture.length);
    data.set(header);
    data.set(picture, header.length);
    return data;
  }
  throw new RangeError("a window takes too many bytes");
}

/**
 * WebP (RFC 9649) without all that is beside the coded picture: Chromium adds a colour profile of 456 bytes, half as much as the picture.
 * @param {Uint8Array<ArrayBuffer>} webp
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bare(webp) {
  const view = new DataView(webp.buffer);
  for (let at = RIFF_BYTES; at + CHUNK_BYTES <= webp.length; ) {
    const kind = String.fromCharCode(...webp.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    const end = at + CHUNK_BYTES + size + (size % 2);
    if (kind === "VP8 " || kind === "VP8L") {
      const found = new Uint8Array(RIFF_BYTES + end - at);
      found.set(webp.subarray(0, RIFF_BYTES));
      found.set(webp.subarray(at, end), RIFF_BYTES);
      new DataView(found.buffer).setUint32(4, found.length - 8, true);
      return found;
    }
    at = end;
  }
  return webp;
}

/** @type {WriteWebp} */
function drawn({ width, height, data }, quality) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(new ImageData(Uint8ClampedArray.from(data), width, height), 0, 0);
  return canvas.convertToBlob({ type: "image/webp", quality });
}
