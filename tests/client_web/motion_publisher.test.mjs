/** Motion onto a data channel, control messages, and step times: pure parts of the page as sender. */
import assert from "node:assert/strict";
import test from "node:test";
import { BitstreamError } from "../../client_web/codec/error.js";
import { ControlChannel } from "../../client_web/motion/control.js";
import { HEADER_BYTES, MotionPublisher, RateWindow } from "../../client_web/motion/publisher.js";
import { StepTimes } from "../../client_web/motion/step_times.js";

function channel() {
  return { readyState: "open", bufferedAmount: 0, sent: [], send(data) { this.sent.push(data); } }; // prettier-ignore
}

function publisher() {
  const encoder = {
    given: [],
    heard: [],
    encode(vector, captureMs, source) {
      this.given.push([vector[0], captureMs, source]);
      return Uint8Array.of(vector[0]);
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
  one.publish(sample(2), 40);
  one.publish(sample(3), 80);
  assert.deepEqual(encoder.given, [[1, 1000, 1]]);
  motion.bufferedAmount = 0;
  one.drained(90);
  assert.deepEqual(encoder.given.map(([value]) => value), [1, 3]);
  assert.equal(one.dropped, 1);
  motion.readyState = "closed";
  one.publish(sample(4), 120);
  assert.equal(motion.sent.length, 2);
  one.drained(130);
  assert.equal(one.dropped, 2);
  assert.equal(one.frames, 2);
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
  for (let i = 0; i < 100; i++) one.publish(sample(i), 40 * i);
  assert.ok(Math.abs(one.payload.kbps(4000) - (8 * 49) / 2000) < 1e-9);
  assert.ok(Math.abs(one.wire.kbps(4000) - (8 * 49 * (1 + HEADER_BYTES)) / 2000) < 1e-9);
  assert.equal(one.wire.kbps(9000), 0);
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
