import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { startRecording, stopRecording } from "../../client_web/recording.js";

const PAGE = new URL("https://calls.example.org/");
const ROOM = "api/rooms/stand-up/recordings";
const fetched = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = fetched;
});

/** Answers by address, with 204 where none is given; `null` is a node that does not answer. */
function answering(answers) {
  const requests = [];
  globalThis.fetch = async (path, { method, headers }) => {
    requests.push(`${method} ${path}`);
    assert.equal(headers.Authorization, "Bearer t");
    if (answers[path] === null) throw new TypeError("no answer");
    const body = answers[path];
    return new Response(body === undefined ? null : JSON.stringify(body), { status: body === undefined ? 204 : 200 });
  };
  return requests;
}

test("the recording that runs is ended, not those before it", async () => {
  const recordings = [
    { recording: "2", state: "recording" },
    { recording: "1", state: "ended" },
  ];
  const requests = answering({ [ROOM]: { recordings, elsewhere: [] } });
  await startRecording("stand-up", "t").catch(() => {});
  await stopRecording("stand-up", "t", PAGE);
  assert.deepEqual(requests, [`POST ${ROOM}`, `GET ${ROOM}`, `POST ${ROOM}/2/stop`]);
});

test("a recording at another node is found though one of them is dead, and no other origin is asked", async () => {
  const elsewhere = ["b", "c"].map((name) => `https://calls.example.org/nodes/${name}`);
  const requests = answering({
    [ROOM]: { recordings: [{ recording: "1", state: "ended" }], elsewhere: [...elsewhere, "https://other.example.org"] },
    [`${elsewhere[0]}/${ROOM}`]: null,
    [`${elsewhere[1]}/${ROOM}`]: { recordings: [{ recording: "2", state: "recording" }], elsewhere: [] },
  });
  await stopRecording("stand-up", "t", PAGE);
  assert.deepEqual(requests, [
    `GET ${ROOM}`,
    ...elsewhere.map((address) => `GET ${address}/${ROOM}`),
    `POST ${ROOM}/2/stop`,
  ]);
});

test("where the others are not known and nothing runs here, nothing is ended", async () => {
  const requests = answering({ [ROOM]: { recordings: [], elsewhere: null } });
  await stopRecording("stand-up", "t", PAGE);
  assert.deepEqual(requests, [`GET ${ROOM}`]);
});
