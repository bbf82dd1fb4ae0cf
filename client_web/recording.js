// @ts-check
/** Recording of a room by the API, for whoever's token permits it. */
import { askApi } from "./api.js";

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
 */
export async function stopRecording(room, token) {
  const { recordings } = await askApi("GET", path(room), null, token);
  const running = recordings.find((/** @type {any} */ { state }) => state === "recording");
  if (running) await askApi("POST", `${path(room)}/${running.recording}/stop`, null, token);
}

/** @param {string} room */
function path(room) {
  return `api/rooms/${encodeURIComponent(room)}/recordings`;
}
