/** The page's mouth windows: geometry, skin and choice against the daemon's golden vectors, bytes, and their way to the server. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { Extraction } from "../../client_web/motion/extraction.js";
import { bareSkin, CallMouth, skinUnevenness } from "../../client_web/motion/mouth_skin.js";
import { cutWindow, MAX_WINDOW_BYTES, mouthCoordinates, mouthPoints, shapeDistance, usable } from "../../client_web/motion/mouth_window.js";
import { sharpness } from "../../client_web/motion/source_choice.js";
import { Uploads } from "../../client_web/motion/uploads.js";
import { bare, encodeWindow, headerOf } from "../../client_web/motion/window_bytes.js";
import { WindowChoice } from "../../client_web/motion/window_choice.js";
import { canonical, surroundings, vector } from "./made_up.mjs";
import { near } from "./near.mjs";

const golden = JSON.parse(await readFile(new URL("../vectors/extraction.json", import.meta.url)));
const { guided } = golden.layout;
const crop = surroundings(0, 0, false, 0);

/** The made-up mouth of extraction_vectors.py. */
function mouthShape(index) {
  const [upper, lower, skew] = [((7 * index) % 12) / 24, ((7 * index) % 12) / 8, ((index % 7) - 3) / 8];
  const [above, below, side] = [upper + 0.25 + (index % 5) / 16, lower + 0.375, 0.4375 + (index % 3) / 16];
  const middle = [skew, -above, skew, below, skew, -upper, skew, lower];
  return [-1, 0, 1, 0, ...middle, -side, -0.7 * above, side, -0.7 * above, -side, 0.9 * below, side, 0.9 * below];
}

test("keypoints of the mouth, their coordinates and distances are the daemon's", () => {
  near(mouthPoints(canonical(1), vector(3), guided), golden.mouth.keypoints, 2e-5);
  for (const { points, coordinates, usable: can } of golden.mouth.mouths) {
    near(mouthCoordinates(points), coordinates, 2e-5);
    assert.equal(usable(points), can);
  }
  const shapes = [0, 1, 2, 3, 4, 5].map(mouthShape);
  near(shapes.flatMap((a) => shapes.map((b) => shapeDistance(a, b))), golden.mouth.distances, 2e-5); // prettier-ignore
});

test("a window is cut as the daemon cuts it", () => {
  for (const { points, usable: can, lips, middle, half, side, green } of golden.mouth.mouths) {
    if (!can) continue;
    const window = cutWindow(crop, points);
    assert.deepEqual([window.lips, window.middle, window.half, window.picture.width], [lips, middle, half, side]);
    near(window.picture.data.filter((_, i) => i % 4 === 1).filter((_, i) => i % 37 === 0), green, 0); // prettier-ignore
  }
});

test("what lies before a mouth and how sharp a frame is are told as the daemon tells them", () => {
  for (const { points, unevenness } of golden.mouth.mouths) {
    if (unevenness !== undefined) near([skinUnevenness(crop, points)], [unevenness], 1e-3);
  }
  near([bareSkin(0.01), bareSkin(0.2)], golden.mouth.bare_skin, 1e-5);
  const mouth = new CallMouth(golden.mouth.call.own);
  assert.deepEqual(golden.mouth.call.seen.map((/** @type {number} */ one) => mouth.update(one)), golden.mouth.call.covered);
  near([sharpness(crop)], [golden.mouth.sharpness], 2e-5);
});

test("windows are asked for at the very frames", () => {
  const choice = new WindowChoice();
  const asked = [];
  for (let frame = 0; frame < 1100; frame++) {
    if (frame === 900) choice.cut();
    const wider = frame >= 400 && frame < 900 ? 2 : 1;
    const shape = mouthShape(Math.floor(frame / 2)).map((value, i) => (i % 2 ? wider * value : value));
    const now = 5 + 0.06 * frame;
    const slot = choice.update(shape, mouthShape(Number(frame >= 900)), frame % 7 !== 3, now);
    if (slot !== null && frame % 11 !== 1) choice.sent(slot, shape, 600 + ((8 * frame) % 1000), now);
    if (slot !== null) asked.push([frame, slot]);
  }
  assert.deepEqual(asked, golden.window_choice);
});

test("windows of a minute are never more than thirty kilobytes", () => {
  const choice = new WindowChoice();
  const sent = [];
  for (let look = 0; look < 1500; look++) {
    const [shape, now] = [mouthShape(look * look), 0.11 * look];
    const slot = choice.update(shape, mouthShape(0), true, now);
    if (slot === null) continue;
    choice.sent(slot, shape, MAX_WINDOW_BYTES, now);
    sent.push(now);
  }
  assert.ok(sent.length >= 7);
  sent.forEach((from) => assert.ok(sent.filter((at) => at >= from && at < from + 60).length * MAX_WINDOW_BYTES <= 30_000));
});

const window = cutWindow(crop, golden.mouth.mouths[0].points);

test("a window's bytes are where its keypoints are and a picture that is made coarser until it fits", async () => {
  const { lips, middle, half } = window;
  const header = headerOf(window);
  assert.deepEqual([...new Int8Array(header.buffer)], [1, middle, half, ...lips]);
  const asked = [];
  const write = (bytes, type) => async (_picture, quality) => {
    asked.push(quality);
    return new Blob([new Uint8Array(Math.round(bytes * quality)).fill(7)], { type });
  };
  const data = await encodeWindow(window, write(6000, "image/webp"));
  assert.ok(asked.length > 1 && asked.every((quality, i) => i === 0 || quality < asked[i - 1]));
  assert.ok(data.length <= MAX_WINDOW_BYTES && data.length === 19 + Math.round(6000 * asked.at(-1)));
  assert.deepEqual([...data.subarray(0, 20)], [...header, 7]);
  assert.equal(await encodeWindow(window, write(100, "image/png")), null);
  const large = encodeWindow(window, async () => new Blob([new Uint8Array(5000)], { type: "image/webp" }));
  await assert.rejects(large, RangeError);
});

test("of a browser's WebP only the coded picture is sent", () => {
  const chunk = (kind, size) => [...Buffer.from(kind), size, 0, 0, 0, ...new Array(size + (size % 2)).fill(9)];
  const riff = (...chunks) => Uint8Array.from([...Buffer.from("RIFF"), chunks.flat().length + 4, 0, 0, 0, ...Buffer.from("WEBP"), ...chunks.flat()]);
  const plain = riff(chunk("VP8 ", 7));
  assert.deepEqual(bare(riff(chunk("VP8X", 10), chunk("ICCP", 5), chunk("VP8 ", 7), chunk("EXIF", 3))), plain);
  assert.deepEqual(bare(plain), plain);
  assert.deepEqual(bare(Uint8Array.of(1, 2, 3)), Uint8Array.of(1, 2, 3));
});

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
  uploads.window(upload(4, 100));
  await settled();
  assert.match(puts[2].address, /slot=4/);
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

const MOUTH = [61, 291, 0, 17, 13, 14, 40, 270, 91, 321];
const level = new Float32Array(3 * golden.layout.keypoints);

/** Motion of a head that looks ahead, with this made-up mouth. */
function spoken(index) {
  const motion = new Float32Array(vector(0).length);
  motion[3] = 1;
  const shape = mouthShape(index);
  MOUTH.forEach((landmark, i) => motion.set([0.25 * shape[2 * i], 0.25 * shape[2 * i + 1] + 0.25], 11 + 3 * guided.indexOf(landmark)));
  return motion;
}

/** An extraction that the receiver has a source image of, and what it chooses in frames of these pictures. */
function extraction() {
  const { keypoints, body, still } = golden.layout;
  const one = new Extraction({ networks: {}, size: 256, keypoints, body, guided, still }, null, 5);
  one.canonical = level;
  const taken = () => {
    const points = mouthPoints(level, spoken(0), guided);
    const judged = { sharpness: sharpness(crop), skin: skinUnevenness(crop, points) };
    one.selection.answer(one.selection.offer({ picture: crop, canonical: level, motion: spoken(0), ...judged }), true);
  };
  const speak = (picture, from, frames = 40) => {
    const chosen = [];
    for (let i = 0; i < frames; i++) {
      one.measured = { picture, motion: spoken(i), captured: from + 0.11 * i };
      const found = one.chooseWindow();
      if (found !== null && one.windowSent(found, 700)) chosen.push(found);
    }
    return chosen;
  };
  return { one, taken, speak };
}

test("windows are chosen once the receiver has a source image, of clear frames alone", () => {
  const { one, taken, speak } = extraction();
  assert.deepEqual(speak(crop, 0), []);
  taken();
  const grey = { ...crop, data: new Uint8ClampedArray(crop.data.length).fill(128) };
  assert.deepEqual(speak(grey, 10), [], "less sharp than the source image");
  const behind = { ...crop, data: crop.data.map((value, i) => (i % 1024 < 512 ? value : value >> 3)) };
  assert.deepEqual(speak(behind, 20), [], "something lies before half of the mouth");
  one.measured = null;
  assert.equal(one.chooseWindow(), null, "a face that is not measured");
  const chosen = speak(crop, 30);
  assert.ok(chosen.length >= 3);
  chosen.forEach(({ slot, scene, window: { picture } }, i) => assert.deepEqual([slot, scene, picture.width >= 64], [i, 5, true]));
});

test("another choice of source images begins with other windows", () => {
  const { one, taken, speak } = extraction();
  taken();
  speak(crop, 0);
  const before = { slot: 3, scene: 5, shape: mouthShape(1), captured: 5 };
  one.forgetSources(6);
  assert.equal(one.windowSent(before, 700), false, "of the sources before");
  assert.deepEqual(speak(crop, 10), []);
  taken();
  assert.deepEqual([speak(crop, 20)[0]].map(({ slot, scene }) => [slot, scene]), [[0, 6]]); // prettier-ignore
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
