// @ts-check
/** The server's API over HTTP: one request, its answer, and errors as those of the WebSocket. */
import { RequestError } from "./signalling.js";

/**
 * @param {"GET" | "POST"} method
 * @param {string} path relative to the page
 * @param {object | null} body
 * @param {string | null} token
 * @returns {Promise<any>} the answer; null where there is none. Rejects with RequestError
 */
export async function askApi(method, path, body, token) {
  const headers = { "Content-Type": "application/json", ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
  const response = await fetch(path, { method, headers, ...(body === null ? {} : { body: JSON.stringify(body) }) }).catch(() => {
    throw new RequestError("unreachable", "The server cannot be reached. Are you online?");
  });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new RequestError(String(answer.code ?? "unknown"), String(answer.message ?? "The server refused."));
  return answer;
}
