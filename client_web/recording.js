// @ts-check
/** Recording of a room by the API, for whoever's token permits it. */
import { askApi } from "./api.js";
import { nodeAddress } from "./signalling.js";

/**
 * @param {string} room
 * @param {string | null} token
 */
export async function startRecording(room, token) {
  await askApi("POST", path(room), null, token);
}

/**
 * Ends whatever recording of the room is running.
 * @param {string} room
 * @param {string | null} token
 * @param {{origin: string}} [page]
 */
export async function stopRecording(room, token, page = window.location) {
  const running = (await allRecordings(room, token, page)).find(({ state }) => state === "recording");
  // Any node knows from its name where a recording is.
  if (running) await askApi("POST", `${path(room)}/${running.recording}/stop`, null, token);
}

/**
 * Of a server of several nodes each lists those that it has.
 * @param {string} room
 * @param {string | null} token
 * @param {{origin: string}} page
 * @returns {Promise<any[]>}
 */
async function allRecordings(room, token, page) {
  const { recordings, elsewhere } = await askApi("GET", path(room), null, token);
  const nodes = (elsewhere ?? []).map((/** @type {string} */ address) => nodeAddress(page, address)).filter(Boolean);
  const others = nodes.map((/** @type {URL} */ node) =>
    // A node that died a moment ago records nothing.
    askApi("GET", new URL(path(room), node).href, null, token).catch(() => ({ recordings: [] })),
  );
  return [...recordings, ...(await Promise.all(others)).flatMap((other) => other.recordings)];
}

/** @param {string} room */
function path(room) {
  return `api/rooms/${encodeURIComponent(room)}/recordings`;
}
