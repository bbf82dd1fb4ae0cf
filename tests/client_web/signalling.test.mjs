import assert from "node:assert/strict";
import { test } from "node:test";
import {
  backoffMs,
  joinRoom,
  nodeAddress,
  PendingRequests,
  refusesToken,
  RequestError,
  ServerClock,
  Signalling,
  socketAddress,
} from "../../client_web/signalling.js";

test("a request gets its own answer, whatever the order", async () => {
  const pending = new PendingRequests();
  const answers = {};
  const ids = ["a", "b"].map((name) => pending.open("ping", { name }, 0, (answer) => (answers[name] = answer), assert.fail).id);
  assert.equal(pending.settle({ type: "ok", id: ids[1], value: 2 }), true);
  assert.equal(pending.settle({ type: "ok", id: ids[0], value: 1 }), true);
  assert.deepEqual([answers.a.value, answers.b.value], [1, 2]);
  assert.equal(pending.settle({ type: "ok", id: ids[0] }), false);
});

test("an error becomes a RequestError with the server's code", async () => {
  const pending = new PendingRequests();
  const failed = new Promise((resolve) => pending.open("join", {}, 0, assert.fail, resolve));
  pending.settle({ type: "error", id: 1, code: "capacity", message: "the room is full" });
  const error = await failed;
  assert.ok(error instanceof RequestError);
  assert.deepEqual([error.code, error.message], ["capacity", "the room is full"]);
});

test("events answer nothing, even with an id that waits", () => {
  const pending = new PendingRequests();
  pending.open("ping", {}, 0, assert.fail, assert.fail);
  assert.equal(pending.settle({ type: "roster", id: 1 }), false);
  assert.equal(pending.settle(null), false);
});

test("fields cannot take the place of type and id", () => {
  const message = new PendingRequests().open("ping", { type: "leave", id: 99, t: 3 }, 0, assert.fail, assert.fail);
  assert.deepEqual(message, { type: "ping", id: 1, t: 3 });
});

test("requests time out, each at its own time, and are bounded", () => {
  const pending = new PendingRequests(2, 1000);
  const failed = [];
  pending.open("a", {}, 0, assert.fail, (error) => failed.push(["a", error.code]));
  pending.open("b", {}, 500, assert.fail, (error) => failed.push(["b", error.code]));
  assert.throws(() => pending.open("c", {}, 500, assert.fail, assert.fail), { code: "too_many_requests" });
  pending.expire(999);
  assert.deepEqual(failed, []);
  pending.expire(1000);
  assert.deepEqual(failed, [["a", "timeout"]]);
  pending.failAll(new RequestError("disconnected", ""));
  assert.deepEqual(failed, [["a", "timeout"], ["b", "disconnected"]]);
});

test("back-off doubles up to eight seconds and takes at most a half off", () => {
  assert.deepEqual([0, 1, 2, 3, 10].map((attempt) => backoffMs(attempt, 0)), [250, 500, 1000, 2000, 8000]);
  assert.equal(backoffMs(0, 0.999999) > 125 - 1e-3, true);
});

test("the socket's address follows the page's scheme and hides nothing of the token", () => {
  assert.equal(socketAddress({ protocol: "http:", host: "localhost:8080" }, "a+b"), "ws://localhost:8080/ws?token=a%2Bb");
  assert.equal(socketAddress({ protocol: "https:", host: "call.example" }, "t"), "wss://call.example/ws?token=t");
  const behind = { protocol: "https:", host: "call.example", pathname: "/visavis/" };
  assert.equal(socketAddress(behind, "t"), "wss://call.example/visavis/ws?token=t");
  assert.equal(socketAddress({ ...behind, pathname: "/visavis/index.html" }, "t"), "wss://call.example/visavis/ws?token=t");
});

test("the clock believes the ping with the shortest way", () => {
  const clock = new ServerClock(2);
  assert.equal(clock.best(), null);
  clock.add(0, 1050, 100);
  clock.add(200, 1215, 210);
  assert.deepEqual(clock.best(), { roundTrip: 10, offset: 1010 });
  clock.add(300, 1340, 380);
  clock.add(400, 1440, 480);
  assert.deepEqual(clock.best(), { roundTrip: 80, offset: 1000 });
});

/** A socket that a test drives. */
class Socket {
  readyState = 0;
  sent = [];
  constructor(address) {
    this.address = address;
  }
  open() {
    this.readyState = 1;
    this.onopen();
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
}

function signalling() {
  const calls = { events: [], lost: [], sockets: [] };
  const made = new Signalling(
    { onEvent: (event) => calls.events.push(event), onLost: (reason) => calls.lost.push(reason) },
    {
      now: () => 0,
      open: (address) => {
        calls.sockets.push(new Socket(address));
        return calls.sockets.at(-1);
      },
    },
  );
  return { made, calls };
}

test("answers and events find their way; a closed socket fails what waits and is reported once", async () => {
  const { made, calls } = signalling();
  const opening = made.connect("ws://here/ws");
  const [socket] = calls.sockets;
  socket.open();
  await opening;
  const answer = made.request("join", { room: "r" });
  assert.deepEqual(socket.sent, [{ room: "r", type: "join", id: 1 }]);
  socket.onmessage({ data: '{"type":"roster","participants":[]}' });
  socket.onmessage({ data: '{"type":"ok","id":1,"participant":"p"}' });
  assert.equal((await answer).participant, "p");
  assert.deepEqual(calls.events, [{ type: "roster", participants: [] }]);
  const waiting = assert.rejects(made.request("ping"), { code: "disconnected" });
  socket.onclose({ reason: "" });
  await waiting;
  assert.equal(calls.lost.length, 1);
  await assert.rejects(made.request("ping"), { code: "disconnected" });
  assert.equal(made.timer?._destroyed ?? true, true);
});

test("a socket that never opens is unreachable, and is not reported as lost", async () => {
  const { made, calls } = signalling();
  const opening = made.connect("ws://here/ws");
  calls.sockets[0].onclose({ reason: "" });
  await assert.rejects(opening, { code: "unreachable" });
  assert.deepEqual(calls.lost, []);
});

test("closing on purpose is not reported as lost", async () => {
  const { made, calls } = signalling();
  const opening = made.connect("ws://here/ws");
  calls.sockets[0].open();
  await opening;
  made.close();
  assert.equal(calls.sockets[0].onclose, null);
  assert.deepEqual(calls.lost, []);
});

/** Lets everything that is ready to run do so. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Opens the newest socket and answers its request. */
async function answer(calls, message) {
  await turn();
  const socket = calls.sockets.at(-1);
  socket.open();
  await turn();
  socket.onmessage({ data: JSON.stringify({ id: socket.sent.at(-1).id, ...message }) });
  await turn();
}

const page = new URL("https://call.example/");
const moved = (address) => ({ type: "error", code: "moved", message: "", address });

test("a node is followed below the page's own origin, and nowhere else", () => {
  assert.equal(nodeAddress(page, "https://call.example/nodes/a")?.href, "https://call.example/nodes/a/");
  assert.equal(nodeAddress(page, "https://call.example/nodes/a/")?.href, "https://call.example/nodes/a/");
  for (const foreign of ["https://evil.example/nodes/a", "http://call.example/nodes/a", "nodes/a", "", null, undefined]) {
    assert.equal(nodeAddress(page, foreign), null, String(foreign));
  }
});

test("joining follows to the node that has the room, with the same token and fields", async () => {
  const { made, calls } = signalling();
  const joining = joinRoom(made, page, null, "t", { room: "r" });
  await answer(calls, moved("https://call.example/nodes/a"));
  await answer(calls, { type: "ok", participant: "p", node: "https://call.example/nodes/a" });
  const { answer: joined, node } = await joining;
  assert.equal(joined.participant, "p");
  assert.equal(node?.href, "https://call.example/nodes/a/");
  assert.deepEqual(
    calls.sockets.map((socket) => socket.address),
    ["wss://call.example/ws?token=t", "wss://call.example/nodes/a/ws?token=t"],
  );
  assert.equal(calls.sockets[1].sent[0].room, "r");
  made.close();
});

test("a server of one names no node", async () => {
  const { made, calls } = signalling();
  const joining = joinRoom(made, page, null, "t", {});
  await answer(calls, { type: "ok", node: null });
  assert.equal((await joining).node, null);
  made.close();
});

test("a node that does not answer is told apart from a server that does not", async () => {
  for (const [node, code] of [[new URL("https://call.example/nodes/a/"), "node_unreachable"], [null, "unreachable"]]) {
    const { made, calls } = signalling();
    const joining = assert.rejects(joinRoom(made, page, node, "t", {}), { code });
    await turn();
    calls.sockets[0].onclose({ reason: "" });
    await joining;
  }
});

test("nodes that send each other's guests around are given up, and so is an address elsewhere", async () => {
  const { made, calls } = signalling();
  const around = assert.rejects(joinRoom(made, page, null, "t", {}), { code: "moved" });
  for (let moves = 0; moves < 5; moves++) await answer(calls, moved(`https://call.example/nodes/${moves % 2}`));
  await around;
  assert.equal(calls.sockets.length, 5);
  made.close();
  const other = signalling();
  const elsewhere = assert.rejects(joinRoom(other.made, page, null, "t", {}), { code: "elsewhere" });
  await answer(other.calls, moved("https://evil.example"));
  await elsewhere;
  other.made.close();
});

test("only the answer 401 means that a token is refused", async (context) => {
  const asked = [];
  for (const [status, refused] of [[401, true], [400, false], [503, false], [null, false]]) {
    context.mock.method(globalThis, "fetch", async (address) => {
      asked.push(address);
      if (status === null) throw new TypeError("unreachable");
      return new Response(null, { status });
    });
    assert.equal(await refusesToken(page, "a+b"), refused);
  }
  assert.equal(asked[0], "https://call.example/ws?token=a%2Bb");
});
