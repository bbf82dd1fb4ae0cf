/** When the page gives up sending motion. */
import assert from "node:assert/strict";
import test from "node:test";
import { Fitness } from "../../client_web/motion/fitness.js";

test("a camera without a face is given up after twelve seconds, and a face that comes in between counts", () => {
  const fitness = new Fitness();
  for (let now = 0; now <= 12; now += 0.5) assert.equal(fitness.judge(false, 40, now), null);
  assert.match(fitness.judge(false, 40, 12.5) ?? "", /No face/);
  fitness.restart();
  for (let now = 20; now <= 31; now += 0.5) assert.equal(fitness.judge(false, 40, now), null);
  assert.equal(fitness.judge(true, 40, 31.5), null);
  for (let now = 32; now <= 44; now += 0.5) assert.equal(fitness.judge(false, 40, now), null);
});

test("a slow device is given up after enough frames, and told how slow it is", () => {
  const fitness = new Fitness();
  for (let i = 0; i < 39; i++) assert.equal(fitness.judge(true, 500, i), null, "the first frames are always slow");
  assert.equal(fitness.judge(true, 500, 40), "This device manages 2.0 motion frames a second, which is too few.");
  const quick = new Fitness();
  for (let i = 0; i < 200; i++) assert.equal(quick.judge(true, 300, i), null);
});
