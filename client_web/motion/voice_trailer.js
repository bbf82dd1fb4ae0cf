// @ts-check
/**
 * Motion behind the voice, as a browser can send it: a trailer is one motion message that stands behind the Opus packet, and the
 * payload's last byte is its length (docs/protocol.md, "Behind the voice"). Pure.
 */
import { BitstreamError } from "../codec/error.js";

/** Bytes; a longer message takes the data channel. */
export const MAX_TRAILER = 255;

/** In the audio section of an offer, and of the answer of a server that understands it. */
const ATTRIBUTE = "a=visavis-motion-trailer";

/**
 * @param {Uint8Array} opus
 * @param {Uint8Array} trailer 0 ... 255 bytes
 * @returns {Uint8Array<ArrayBuffer>} the payload of the packet
 */
export function withTrailer(opus, trailer) {
  if (trailer.length > MAX_TRAILER) throw new RangeError(`a trailer has at most ${MAX_TRAILER} bytes, not ${trailer.length}`);
  const payload = new Uint8Array(opus.length + trailer.length + 1);
  payload.set(opus);
  payload.set(trailer, opus.length);
  payload[payload.length - 1] = trailer.length;
  return payload;
}

/**
 * Throws BitstreamError on a payload that is shorter than it says.
 * @param {Uint8Array} payload
 * @returns {{opus: Uint8Array, trailer: Uint8Array}}
 */
export function cutTrailer(payload) {
  const place = payload.length - 1 - (payload.at(-1) ?? 0);
  if (place < 0) throw new BitstreamError(`no trailer fits into a payload of ${payload.length} bytes`);
  return { opus: payload.subarray(0, place), trailer: payload.subarray(place, -1) };
}

/**
 * The offer that a server gets: the browser's own, and that payloads may end with a trailer.
 * @param {string} sdp
 */
export function offeringTrailers(sdp) {
  return changedAudio(sdp, (section) => `${section}${ATTRIBUTE}\r\n`);
}

/**
 * Whether the server takes them.
 * @param {string} sdp the answer
 */
export function takesTrailers(sdp) {
  return sectionsOf(sdp).some((section) => isAudio(section) && section.split(/\r?\n/).includes(ATTRIBUTE));
}

/** As the daemon sends sound: with packets of 20 ms headers alone would take 26 kbit/s. */
export const PACKET_MS = 60;
const VOICE_BITS_PER_SECOND = 14_000;
const WIDEBAND_HZ = 16_000;

/**
 * The answer as it is given to the browser: one's sound is to be a voice in few and small packets (RFC 7587 section 6.1).
 * @param {string} sdp
 */
export function askingForVoice(sdp) {
  return changedAudio(sdp, (section) => {
    const type = /^a=rtpmap:(\d+) opus\/48000/im.exec(section)?.[1];
    if (type === undefined) return section;
    const lines = section.split(/\r?\n/).filter((line) => line !== "" && !/^a=(max)?ptime:/.test(line));
    const given = lines.find((line) => line.startsWith(`a=fmtp:${type} `))?.slice(`a=fmtp:${type} `.length) ?? "";
    const parameters = new Map(given.split(";").map((part) => /** @type {[string, string]} */ (part.trim().split("=", 2))));
    parameters.delete("");
    parameters.set("maxplaybackrate", String(WIDEBAND_HZ)).set("maxaveragebitrate", String(VOICE_BITS_PER_SECOND));
    parameters.set("stereo", "0").set("usedtx", "0");
    const format = `a=fmtp:${type} ${[...parameters].map((pair) => pair.join("=")).join(";")}`;
    const kept = lines.filter((line) => !line.startsWith(`a=fmtp:${type} `));
    return [...kept, format, `a=ptime:${PACKET_MS}`, `a=maxptime:${PACKET_MS}`, ""].join("\r\n");
  });
}

/**
 * @param {string} sdp
 * @param {(section: string) => string} change
 */
function changedAudio(sdp, change) {
  return sectionsOf(sdp).map((section) => (isAudio(section) ? change(section) : section)).join(""); // prettier-ignore
}

/** @param {string} sdp */
function sectionsOf(sdp) {
  return sdp.split(/^(?=m=)/m);
}

/** @param {string} section */
function isAudio(section) {
  return section.startsWith("m=audio ");
}
