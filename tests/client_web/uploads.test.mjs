/** How the page brings source images and windows to the server. */
import assert from "node:assert/strict";
import test from "node:test";
import { Uploads } from "../../client_web/motion/uploads.js";

/** A server at which PUTs arrive, and a clock. */
function server(t, status = 201) {
  const puts = [];
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(globalThis, "fetch", async (address, { method, headers, body }) => {
    puts.push({ address, method, headers, size: body?.size ?? 0 });
    return new Response("{}", { status });
  });
  return puts;
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const upload = (slot, bytes, scene = 3) => ({ slot, scene, image: new Blob([new Uint8Array(bytes)], { type: "application/octet-stream" }) });
const place = { room: "a b", participant: "p1", token: "t", node: null };

test("windows go one by one, at 32 kbit/s, the newest of each slot", async (t) => {
  const puts = server(t);
  const uploads = new Uploads(place);
  uploads.window(upload(0, 1000));
  uploads.window(upload(1, 500));
  uploads.window(upload(1, 600));
  await settled();
  assert.deepEqual(puts, [
    {
      address: "rooms/a%20b/participants/p1/mouth?slot=0&scene=3",
      method: "PUT",
      headers: { Authorization: "Bearer t", "Content-Type": "application/octet-stream" },
      size: 1000,
    },
  ]);
  t.mock.timers.tick(249);
  await settled();
  assert.equal(puts.length, 1);
  t.mock.timers.tick(1);
  await settled();
  assert.deepEqual([puts[1].size, puts.length], [600, 2]);
  uploads.window(upload(2, 100));
  uploads.close();
  t.mock.timers.tick(60_000);
  await settled();
  assert.equal(puts.length, 2);
  uploads.window(upload(27, 100));
  await settled();
  assert.match(puts[2].address, /slot=27&/);
});

test("windows of another scene are sent no more", async (t) => {
  const puts = server(t);
  const uploads = new Uploads(place);
  for (const slot of [0, 1, 2]) uploads.window(upload(slot, 10));
  await settled();
  uploads.window({ ...upload(0, 20), scene: 4 });
  for (let i = 0; i < 4; i++) {
    t.mock.timers.tick(10_000);
    await settled();
  }
  assert.deepEqual(
    puts.map(({ address }) => address.split("?")[1]),
    ["slot=0&scene=3", "slot=0&scene=4"],
  );
});

test("a window that is refused is history, and a source image goes with its scene", async (t) => {
  const puts = server(t, 403);
  t.mock.method(console, "info", () => undefined);
  const uploads = new Uploads({ ...place, node: new URL("https://node.example/v/") });
  uploads.window(upload(0, 10));
  await settled();
  t.mock.timers.tick(10_000);
  await settled();
  assert.equal(puts.length, 1);
  const source = { index: 1, scene: 4, image: new Blob([new Uint8Array(9)], { type: "image/webp" }), sha256: "ab" };
  assert.equal(await uploads.source(source, false), "the server answered 403");
  await uploads.source(source, true);
  assert.deepEqual(
    puts.slice(1).map(({ address, headers, size }) => [address, headers["Content-Type"], size]),
    [
      ["https://node.example/v/rooms/a%20b/participants/p1/source?index=1&scene=4", "image/webp", 9],
      ["https://node.example/v/rooms/a%20b/participants/p1/source?index=1&scene=4&sha256=ab", undefined, 0],
    ],
  );
});

test("a window is offered again to a server that is busy, unless a newer one or another scene came", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(console, "info", () => undefined);
  const asked = [];
  let status = 429;
  t.mock.method(globalThis, "fetch", async (address, { body }) => {
    asked.push(`${address.split("?")[1]} ${body.size}`);
    return new Response("{}", { status });
  });
  const uploads = new Uploads(place);
  const after = async (ms) => {
    t.mock.timers.tick(ms);
    await settled();
  };
  uploads.window(upload(0, 10));
  await settled();
  await after(499);
  assert.equal(asked.length, 1);
  uploads.window(upload(0, 20));
  await after(1);
  await after(1000);
  status = 201;
  await after(2000);
  await after(10_000);
  assert.deepEqual(asked, ["slot=0&scene=3 10", "slot=0&scene=3 20", "slot=0&scene=3 20", "slot=0&scene=3 20"]);
  status = 503;
  uploads.window(upload(1, 30));
  await settled();
  uploads.window({ ...upload(2, 40), scene: 4 });
  status = 201;
  for (let i = 0; i < 4; i++) await after(10_000);
  assert.deepEqual(asked.slice(4), ["slot=1&scene=3 30", "slot=2&scene=4 40"]);
});

test("a source image is offered again to a server that is busy or loads, not to one that refuses it", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let answers = [503, 429, 500, 500, 201];
  const asked = [];
  t.mock.method(globalThis, "fetch", async (address) => {
    asked.push(address);
    return new Response(JSON.stringify({ message: "no" }), { status: answers.shift() });
  });
  const image = new Blob([new Uint8Array(100)], { type: "image/webp" });
  const source = { index: 1, scene: 0, image, sha256: "00" };
  const told = [];
  const uploads = new Uploads(place, (refusal) => told.push(refusal));
  const taken = uploads.source(source, false);
  for (let turn = 0; turn < 10; turn++) {
    await settled();
    t.mock.timers.tick(8000);
  }
  assert.equal(await taken, null);
  assert.equal(asked.length, 5);
  assert.deepEqual(told, ["no"], "once, and not at the first answer");
  answers = [415];
  assert.equal(await uploads.source(source, false), "no");
  answers = [503, 503];
  const given = uploads.source(source, true);
  await settled();
  uploads.close();
  t.mock.timers.tick(8000);
  assert.equal(await given, "no");
  assert.deepEqual(answers, [503]);
});
