/** Motion behind the voice or onto a data channel, control messages, and step times: pure parts of the page as sender. */
import assert from "node:assert/strict";
import test from "node:test";
import { CALL_RATE } from "../../client_web/codec/encoder.js";
import { BitstreamError } from "../../client_web/codec/error.js";
import { ControlChannel } from "../../client_web/motion/control.js";
import { PingRhythm } from "../../client_web/motion/ping_rhythm.js";
import { HEADER_BYTES, MotionPublisher, RateWindow } from "../../client_web/motion/publisher.js";
import { StepTimes } from "../../client_web/motion/step_times.js";

function channel() {
  return { readyState: "open", bufferedAmount: 0, sent: [], send(data) { this.sent.push(data); } }; // prettier-ignore
}

function publisher() {
  const encoder = {
    rate: CALL_RATE,
    given: [],
    heard: [],
    pending: [],
    encode(vector, captureMs, source) {
      this.given.push([vector[0], captureMs, source]);
      this.pending.push(vector[0]);
      return this.pending.length >= this.rate.framesPerMessage ? this.flush() : null;
    },
    flush() {
      const message = this.pending.length > 0 ? Uint8Array.from(this.pending) : null;
      this.pending = [];
      return message;
    },
    onAcknowledgement(data) {
      if (data.length !== 9) throw new BitstreamError("no answer");
      this.heard.push(data);
    },
  };
  const motion = channel();
  return { encoder, motion, publisher: new MotionPublisher(encoder, motion) };
}

const sample = (value) => ({ vector: Float32Array.of(value), source: 1, capturedMs: 1000.9 });

test("a frame is encoded when it leaves, and only the newest waits", () => {
  const { encoder, motion, publisher: one } = publisher();
  one.publish(sample(1), 0);
  motion.bufferedAmount = 50;
  one.publish(sample(2), 100);
  one.publish(sample(3), 200);
  assert.deepEqual(encoder.given, [[1, 1000, 1]]);
  motion.bufferedAmount = 0;
  one.drained(210);
  assert.deepEqual(encoder.given.map(([value]) => value), [1, 3]);
  assert.equal(one.dropped, 1);
  motion.readyState = "closed";
  one.publish(sample(4), 300);
  assert.equal(motion.sent.length, 2);
  one.drained(310);
  assert.equal(one.dropped, 2);
  assert.equal(one.frames, 2);
});

test("without a voice two frames share a message, unless they are far apart", () => {
  const { motion, publisher: one } = publisher();
  for (const [value, now] of [[1, 0], [2, 40], [3, 80], [4, 120], [5, 160], [6, 300]]) one.publish(sample(value), now); // prettier-ignore
  assert.deepEqual(motion.sent.map((message) => [...message]), [[1], [2, 3], [4, 5], [6]]); // prettier-ignore
});

test("frames wait for the voice and travel behind it", () => {
  const { motion, publisher: one } = publisher();
  assert.deepEqual([...one.takeTrailer(0)], []);
  one.publish(sample(1), 20);
  one.publish(sample(2), 50);
  assert.deepEqual([...one.takeTrailer(60)], [1, 2]);
  assert.deepEqual(motion.sent, []);
  assert.equal(one.payload.kbps(60), one.wire.kbps(60), "no header of its own");
});

test("when the voice stalls all that waits takes the data channel", () => {
  const { motion, publisher: one } = publisher();
  one.takeTrailer(0);
  one.publish(sample(1), 10);
  one.publish(sample(2), 50);
  one.publish(sample(3), 90);
  assert.deepEqual(motion.sent.map((message) => [...message]), [[1, 2, 3]], "the oldest has waited 80 ms"); // prettier-ignore
  one.publish(sample(4), 95);
  one.publish(sample(5), 160);
  assert.deepEqual(motion.sent.map((message) => [...message]).slice(1), [[4], [5]], "in order"); // prettier-ignore
  one.publish(sample(6), 190);
  assert.deepEqual([...one.takeTrailer(200)], [6]);
});

test("a message that is too long for a trailer takes the data channel", () => {
  const { encoder, motion, publisher: one } = publisher();
  one.takeTrailer(0);
  one.publish(sample(1), 10);
  encoder.pending = Array.from({ length: 256 }, () => 7);
  assert.deepEqual([...one.takeTrailer(60)], []);
  assert.equal(motion.sent[0].length, 256);
});

test("a pause sends what waits", () => {
  const { motion, publisher: one } = publisher();
  one.takeTrailer(0);
  one.publish(sample(1), 10);
  one.pause(30);
  assert.deepEqual(motion.sent.map((message) => [...message]), [[1]]); // prettier-ignore
  one.publish(sample(2), 200);
  one.publish(sample(3), 230);
  one.pause(240);
  assert.deepEqual(motion.sent.map((message) => [...message]), [[1], [2], [3]]); // prettier-ignore
  one.pause(250);
  assert.equal(motion.sent.length, 3);
});

test("what comes back and is no answer is counted", () => {
  const { encoder, publisher: one } = publisher();
  one.receive(new ArrayBuffer(9));
  one.receive(new ArrayBuffer(3));
  one.receive("text");
  assert.equal(encoder.heard.length, 1);
  assert.equal(one.malformed, 2);
});

test("rates are of the last two seconds", () => {
  const { publisher: one } = publisher();
  for (let i = 0; i < 100; i++) one.publish(sample(i), 100 * i);
  assert.ok(Math.abs(one.payload.kbps(10_000) - (8 * 19) / 2000) < 1e-9);
  assert.ok(Math.abs(one.wire.kbps(10_000) - (8 * 19 * (1 + HEADER_BYTES)) / 2000) < 1e-9);
  assert.equal(one.wire.kbps(15_000), 0);
  assert.equal(new RateWindow().kbps(0), 0);
});

/** JSON in msgpack's place: what is tested is what is said, not how it is packed. */
const json = {
  encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
  decode: (data) => JSON.parse(new TextDecoder().decode(data)),
};

test("control messages are checked, and a peer that does not read gets no more", () => {
  const line = channel();
  const control = new ControlChannel(line, json);
  control.send({ t: "state", paused: true });
  line.bufferedAmount = 20_000;
  control.send({ t: "state", paused: false });
  assert.equal(line.sent.length, 1);
  const parse = (value) => control.parse(json.encode(value).buffer);
  assert.deepEqual(parse({ t: "ping", n: 3, ms: 1.5, more: 1 }), { t: "ping", n: 3, ms: 1.5 });
  assert.deepEqual(parse({ t: "need_source", sha256: "ab" }), { t: "need_source", sha256: "ab" });
  assert.equal(parse({ t: "statistics", fps: 1 }), null);
  assert.equal(control.malformed, 0);
  for (const damaged of [{ t: "ping", n: 1.5, ms: 1 }, { t: "ping", n: 1 }, { t: "need_source" }, { n: 1 }, 7, null]) assert.equal(parse(damaged), null);
  assert.equal(control.parse("text"), null);
  assert.equal(control.parse(new ArrayBuffer(5000)), null);
  assert.equal(control.malformed, 8);
});

test("step times are medians of the last frames", () => {
  const times = new StepTimes();
  for (let i = 0; i < 200; i++) times.add({ frame: i, ...(i % 2 ? {} : { detector: 5 }) });
  assert.deepEqual(times.medians(), { frame: 175, detector: 5 });
});

test("pings are frequent at first and in silence, and seldom while the receiver is heard", () => {
  const rhythm = new PingRhythm();
  const pinged = [];
  for (let tick = 1; tick <= 33; tick++) if (rhythm.due(tick > 30 ? 1600 : 400)) pinged.push(tick);
  assert.deepEqual(pinged, [1, 2, 3, 4, 5, 10, 20, 30, 31, 32, 33]);
});
