/** The motion codec of the page against the golden vectors of Python's, and against damaged messages. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { MotionDecoder } from "../../client_web/codec/decoder.js";
import { CALL_RATE, MotionEncoder } from "../../client_web/codec/encoder.js";
import { encodeLaplace, decodeLaplace, LAPLACE_TABLES, RangeDecoder, RangeEncoder } from "../../client_web/codec/entropy.js";
import { BitstreamError } from "../../client_web/codec/error.js";
import { rescale } from "../../client_web/codec/quantise.js";
import { MotionStatistics } from "../../client_web/codec/statistics.js";

const vectors = JSON.parse(await readFile(new URL("../vectors/motion.json", import.meta.url)));
/** Of the vectors, whatever that of a call is. */
const RATE = { ...CALL_RATE, stepIndex: -5 };
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));

function statistics() {
  const { mean, importance, units, widths } = vectors.statistics;
  // The weights file has float32; the golden vectors have their units rounded to six places.
  return new MotionStatistics({ mean, importance, units: Float32Array.from(units), widths: widths.flat(), basis: null });
}

test("tables are the golden ones", () => {
  vectors.laplace_cumulative_widths.forEach((width, i) => assert.deepEqual(LAPLACE_TABLES[width], vectors.laplace_cumulative[i]));
});

test("Laplace symbols are the golden bytes, and come back", () => {
  for (const { residuals, widths, bytes: golden } of vectors.laplace) {
    const encoder = new RangeEncoder();
    residuals.forEach((residual, i) => encodeLaplace(encoder, residual, widths[i]));
    assert.equal(hex(encoder.finish()), golden);
    const decoder = new RangeDecoder(bytes(golden));
    assert.deepEqual(widths.map((width) => decodeLaplace(decoder, width)), residuals);
    decoder.finish();
  }
});

test("levels are rescaled as in the golden vectors", () => {
  for (const { from, to, in: levels, out } of vectors.rescale) assert.deepEqual([...rescale(Int32Array.from(levels), from, to)], out);
});

test("the decoder gives the golden frames and answers", () => {
  const decoder = new MotionDecoder(statistics());
  for (const { about, bytes: message, frames, answer } of vectors.messages) {
    const decoded = decoder.decode(bytes(message));
    assert.deepEqual(decoded.map(({ sequence }) => sequence), frames.map(({ sequence }) => sequence), about);
    decoded.forEach(({ sequence, captureMs, source, vector }, i) => {
      assert.equal(captureMs, frames[i].capture_ms, about);
      assert.equal(source, frames[i].source, about);
      assert.deepEqual([...decoder.levels(sequence)], frames[i].levels, about);
      vector.forEach((value, k) => assert.ok(Math.abs(value - frames[i].vector[k]) < 2e-5, about));
    });
    assert.equal(hex(decoder.acknowledgement()), answer, about);
  }
});

/** Gives an encoder what the golden one was given; how many messages came. */
function written(encoder, steps) {
  let messages = 0;
  for (const step of steps) {
    if (step.rate) encoder.rate = step.rate;
    else if (step.answer) encoder.onAcknowledgement(bytes(step.answer));
    else {
      const vector = step.vector ?? vectors.chained.vectors[step.index];
      const message = "flush" in step ? encoder.flush() : encoder.encode(vector, step.capture_ms, step.source);
      const golden = "flush" in step ? step.flush : step.bytes;
      assert.equal(message === null ? null : hex(message), golden);
      messages += message !== null;
    }
  }
  return messages;
}

test("the encoder writes the golden bytes", () => {
  assert.ok(written(new MotionEncoder(statistics(), 0xbeef, RATE), vectors.encoder) > 25);
});

test("and chains what the golden one chains, over losses and silences", () => {
  const encoder = new MotionEncoder(statistics(), 0x0bed, { ...RATE, framesPerMessage: 4 });
  assert.ok(written(encoder, vectors.chained.steps) > 200);
  assert.ok(encoder.chaining.chained.length > 12);
});

test("an encoder refuses what is no motion", () => {
  const encoder = new MotionEncoder(statistics(), 1);
  const size = vectors.statistics.mean.length;
  assert.throws(() => encoder.encode(new Float32Array(size - 1), 0, 0), RangeError);
  assert.throws(() => encoder.encode(new Float32Array(size).fill(NaN), 0, 0), RangeError);
  assert.throws(() => encoder.encode(new Float32Array(size), 0, 256), RangeError);
  assert.throws(() => encoder.onAcknowledgement(bytes("41")), BitstreamError);
});

test("100,000 damaged messages give frames or an error, and leave the decoder sound", () => {
  let state = 20111526;
  const random = (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
  const messages = vectors.messages.map(({ bytes: message }) => bytes(message));
  let decoder = new MotionDecoder(statistics());
  const outcomes = { frames: 0, nothing: 0, refused: 0 };
  for (let round = 0; round < 100_000; round++) {
    if (round % 1000 === 0) decoder = new MotionDecoder(statistics());
    let message = Uint8Array.from(messages[random(messages.length)]);
    const kind = random(4);
    if (kind === 0) message = message.slice(0, random(message.length + 1));
    else if (kind === 1) message = Uint8Array.from([...message, ...Array.from({ length: 1 + random(20) }, () => random(256))]);
    // The payload of most stays whole behind a header that a decoder must get through.
    for (let i = random(4); i > 0 && message.length > 0; i--) message[random(message.length)] = random(256);
    try {
      const frames = decoder.decode(message);
      outcomes[frames.length > 0 ? "frames" : "nothing"] += 1;
      for (const { vector } of frames) assert.ok(vector.every(Number.isFinite));
    } catch (error) {
      assert.ok(error instanceof BitstreamError, String(error));
      outcomes.refused += 1;
    }
  }
  assert.ok(Math.min(...Object.values(outcomes)) > 1000, JSON.stringify(outcomes));
  assert.equal(new MotionDecoder(statistics()).decode(messages[0]).length, 1);
});
