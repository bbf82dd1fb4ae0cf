/** What the page asks when it publishes, and what it does when that is refused. The browser's side is made up. */
import assert from "node:assert/strict";
import test from "node:test";
import { Call } from "../../client_web/call.js";
import { RequestError } from "../../client_web/signalling.js";

const WEIGHTS = "ab".repeat(32);
/** Shapes of the codec's statistics where motion has one scalar of the deformation. */
const SHAPES = { mean: [12], importance: [1], units: [12], widths: [9, 12], basis: [1, 1] };

/** A connection that is complete at once. */
class Connection extends EventTarget {
  iceGatheringState = "complete";
  signalingState = "stable";
  localDescription = null;

  addTransceiver() {
    return { sender: { track: null } };
  }

  createDataChannel() {
    return Object.assign(new EventTarget(), { readyState: "connecting", bufferedAmount: 0 });
  }

  async createOffer() {
    return { type: "offer", sdp: "v=0\r\n" };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
  }

  async setRemoteDescription() {}

  close() {}
}

/** Files that `make web` would have made. */
async function built(t) {
  const values = new Float32Array(9 * 12);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", values));
  const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const places = Object.fromEntries(Object.entries(SHAPES).map(([name, shape]) => [name, { offset: 0, shape }]));
  const files = {
    "manifest.json": JSON.stringify({ weights: WEIGHTS, arrays: { file: "arrays.bin", sha256, places } }),
    "runtime.json": JSON.stringify({ msgpack: "data:text/javascript,export const encode = null, decode = null; //" }),
    "arrays.bin": values,
  };
  t.mock.method(globalThis, "fetch", async (address) => new Response(files[address.split("/").at(-1)]));
}

/** Publishes; `refusal` is the code of the server's error, if it answers with one. */
async function published(t, sent, refusal = null) {
  await built(t);
  globalThis.RTCPeerConnection = Connection;
  const asked = [];
  const told = { refused: [], problems: [] };
  const request = async (type, fields) => {
    asked.push({ type, ...fields });
    if (refusal !== null) throw new RequestError(refusal, "The server's words.");
    return { sdp: "v=0\r\n" };
  };
  const call = new Call(request, [], { room: "lobby", participant: "p1", token: "t", node: null }, {
    onStream: assert.fail,
    onSubscribed: assert.fail,
    onScreenRefused: assert.fail,
    onProblem: (problem) => told.problems.push(problem),
    onMotionRefused: (problem) => told.refused.push(problem),
  });
  await call.publish({ audio: null, video: null, ...sent });
  call.close();
  return { asked, ...told };
}

const motion = { sources: new Map(), windows: new Map(), steps: {}, flowing: false };

test("motion is published with the weights that it is of, the camera's picture without", async (t) => {
  const { asked } = await published(t, { motion });
  assert.deepEqual(asked, [{ type: "publish", sdp: "v=0\r\n", weights: WEIGHTS }]);
  const camera = await published(t, { motion: null });
  assert.deepEqual(camera.asked, [{ type: "publish", sdp: "v=0\r\n" }]);
});

test("a server that does not take motion is told from one that takes nothing", async (t) => {
  const weights = await published(t, { motion }, "weights");
  assert.deepEqual(weights.refused, ["The server has another model than this page. Load the page again."]);
  const capacity = await published(t, { motion }, "capacity");
  assert.deepEqual(capacity.refused, ["The server has no time to render one more face."]);
  assert.deepEqual([...weights.problems, ...capacity.problems], []);
  for (const given of [{ motion: null }, { motion }]) {
    const other = await published(t, given, given.motion === null ? "capacity" : "sdp");
    assert.deepEqual([other.refused, other.problems], [[], ["Others cannot see or hear you: The server's words."]]);
  }
});
