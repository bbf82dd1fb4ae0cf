import assert from "node:assert/strict";
import { test } from "node:test";
import { backoffMs, PendingRequests, RequestError, ServerClock, Signalling, socketAddress } from "../../client_web/signalling.js";

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
