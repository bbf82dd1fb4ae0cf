// @ts-check
/** What one's own motion and voice take on the way up, from getStats of the connection that publishes. Pure. */

/** IPv4 and UDP, bytes a packet. */
const UDP_BYTES = 28;

/**
 * @typedef {object} Sent counters of the publishing connection at one time
 * @property {number} at ms
 * @property {number} bytes that left, without the headers of IP and UDP
 * @property {number} packets
 * @property {number} soundBytes RTP payload of the sound, with what travels behind it
 * @property {number} motionBytes messages
 * @property {number} behindVoiceBytes of these behind the voice
 * @property {number} frames of motion
 *
 * @typedef {object} Uplink kbit/s of all that one sends, and how fast motion is made
 * @property {number} motion payload
 * @property {number} voice payload
 * @property {number} headers of all packets, and what keeps the connection up
 * @property {number} total
 * @property {number} fps motion frames a second
 */

/**
 * @param {Iterable<any>} report the values of an RTCStatsReport
 * @param {{motionBytes: number, behindVoiceBytes: number, frames: number}} motion
 * @param {number} at ms
 * @returns {Sent}
 */
export function sentSoFar(report, { motionBytes, behindVoiceBytes, frames }, at) {
  const sent = { at, bytes: 0, packets: 0, soundBytes: 0, motionBytes, behindVoiceBytes, frames };
  for (const entry of report) {
    if (entry.type === "transport") {
      sent.bytes += entry.bytesSent ?? 0;
      sent.packets += entry.packetsSent ?? 0;
    } else if (entry.type === "outbound-rtp" && entry.kind === "audio") sent.soundBytes += entry.bytesSent ?? 0;
  }
  return sent;
}

/**
 * @param {Sent} before
 * @param {Sent} after
 * @returns {Uplink}
 */
export function uplinkBetween(before, after) {
  const seconds = Math.max(1e-3, (after.at - before.at) / 1000);
  /** @param {keyof Sent} name */
  const grown = (name) => Math.max(0, after[name] - before[name]);
  const rate = (/** @type {number} */ bytes) => (8 * bytes) / 1000 / seconds;
  const total = grown("bytes") + UDP_BYTES * grown("packets");
  const motion = grown("motionBytes");
  const voice = Math.max(0, grown("soundBytes") - grown("behindVoiceBytes"));
  return {
    motion: rate(motion),
    voice: rate(voice),
    headers: rate(Math.max(0, total - motion - voice)),
    total: rate(total),
    fps: grown("frames") / seconds,
  };
}
