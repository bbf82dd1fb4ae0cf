/** Which frames of a call the page makes windows of: at the daemon's very frames, within one budget, of what nothing hides. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { CallWindows, lookOf } from "../../client_web/motion/call_windows.js";
import { Extraction } from "../../client_web/motion/extraction.js";
import { sharpness } from "../../client_web/motion/source_choice.js";
import { EYE_SLOTS, MAX_WINDOW_BYTES, MOUTH_SLOTS } from "../../client_web/motion/window.js";
import { Budget, EYES, MOUTH, WindowChoice } from "../../client_web/motion/window_choice.js";
import { eyeShape, level, mixed, mouthShape, spoken, surroundings } from "./made_up.mjs";

const golden = JSON.parse(await readFile(new URL("../vectors/extraction.json", import.meta.url)));
const { keypoints, body, guided, still } = golden.layout;
const crop = surroundings(0, 0, false, 0);
const dark = { ...crop, data: crop.data.map((value) => value >> 3) };
const eyeHidden = mixed(crop, surroundings(0, 0, true, 0), (x, y) => x < 128 && y < 128);
const mouthHidden = mixed(crop, dark, (x, y) => x >= 128 && y >= 128);

test("windows of mouth and eyes are asked for at the very frames", () => {
  const budget = new Budget();
  const [mouths, eyes] = [new WindowChoice(MOUTH, budget), new WindowChoice(EYES, budget)];
  const asked = [];
  for (let frame = 0; frame < 1900; frame++) {
    if (frame === 1700) [mouths, eyes].forEach((choice) => choice.cut());
    const wider = 1 + Math.floor((frame % 1700) / 250);
    const [source, now] = [Number(frame >= 1700), 5 + 0.06 * frame];
    for (const [choice, seen, own, clear] of [
      [mouths, mouthShape(Math.floor(frame / 2)), mouthShape(source), frame % 7 !== 3],
      [eyes, eyeShape(Math.floor(frame / 3)), eyeShape(source), frame % 5 !== 2],
    ]) {
      const shape = seen.map((value, i) => (i % 2 ? wider * value : value));
      const slot = choice.update(shape, own, clear, now);
      if (slot !== null && frame % 11 !== 1) choice.sent(slot, shape, 100 + ((8 * frame) % 200), now);
      if (slot !== null) asked.push([frame, slot]);
    }
  }
  assert.deepEqual(asked, golden.window_choice);
  assert.deepEqual([...new Set(asked.map(([, slot]) => slot))].sort((a, b) => a - b), [...MOUTH_SLOTS, ...EYE_SLOTS]);
});

test("windows of mouth and eyes of a minute are never more than thirty kilobytes together", () => {
  const budget = new Budget();
  const [mouths, eyes] = [new WindowChoice(MOUTH, budget), new WindowChoice(EYES, budget)];
  const sent = [];
  for (let look = 0; look < 1500; look++) {
    const now = 0.11 * look;
    for (const [choice, shape, own] of [
      [mouths, mouthShape(look * look), mouthShape(0)],
      [eyes, eyeShape(look * look), eyeShape(0)],
    ]) {
      const slot = choice.update(shape, own, true, now);
      if (slot === null) continue;
      choice.sent(slot, shape, MAX_WINDOW_BYTES, now);
      sent.push({ now, slot });
    }
  }
  assert.ok(sent.length >= 14);
  assert.ok([MOUTH_SLOTS, EYE_SLOTS].every((slots) => sent.some(({ slot }) => slots.includes(slot))));
  for (const { now } of sent) {
    assert.ok(sent.filter((other) => other.now >= now && other.now < now + 60).length * MAX_WINDOW_BYTES <= 30_000);
  }
});

test("a window that was not sent is asked for again, and after a cut slots are free while bytes still count", () => {
  const budget = new Budget();
  const eyes = new WindowChoice(EYES, budget);
  const asked = [];
  for (let look = 0; look < 40; look++) asked.push(eyes.update(eyeShape(look), eyeShape(0), true, 0.11 * look));
  assert.ok(asked.filter((slot) => slot === EYE_SLOTS[0]).length > 1);
  assert.ok(asked.every((slot) => slot === null || slot === EYE_SLOTS[0]));
  eyes.sent(EYE_SLOTS[0], eyeShape(1), 1000, 4.4);
  eyes.cut();
  assert.equal(budget.affords(4.5), true);
  budget.spend(25_000, 4.5);
  assert.deepEqual([budget.affords(4.6), budget.affords(64.3), budget.affords(64.5)], [false, false, true]);
});

test("a call's windows are the daemon's, of eyes and mouths that nothing hides", () => {
  const look = lookOf({ picture: crop, canonical: level, motion: spoken(0) }, guided, sharpness(crop));
  const windows = new CallWindows(guided);
  const sent = [];
  for (let frame = 0; frame < 100; frame++) {
    const picture = frame < 30 ? eyeHidden : frame < 45 ? mouthHidden : crop;
    const chosen = windows.update({ picture, canonical: level, motion: spoken(frame) }, look, 0.11 * frame);
    if (chosen === null) continue;
    windows.sent(chosen, 1400, 0.11 * frame);
    sent.push([frame, chosen.slot]);
  }
  assert.deepEqual(sent, golden.call_windows);
  const during = (from, to) => sent.filter(([frame]) => frame >= from && frame < to).map(([, slot]) => slot);
  assert.ok(during(0, 30).length > 0 && during(0, 30).every((slot) => MOUTH_SLOTS.includes(slot)));
  assert.ok(during(30, 45).length > 0 && during(30, 45).every((slot) => EYE_SLOTS.includes(slot)));
  assert.ok(sent.length * 1400 <= 30_000 && sent.at(-1)[0] < 90, "together they spend all that they may");
});

test("of eyes that reach beyond the crop there are no windows, while there are of the mouth", () => {
  const aside = (index) => spoken(index).map((value, i) => (i === 4 ? 0.65 : value));
  const look = lookOf({ picture: crop, canonical: level, motion: aside(0) }, guided, sharpness(crop));
  const windows = new CallWindows(guided);
  const slots = [];
  for (let frame = 0; frame < 40; frame++) {
    const chosen = windows.update({ picture: crop, canonical: level, motion: aside(frame) }, look, 0.11 * frame);
    if (chosen === null) continue;
    windows.sent(chosen, 700, 0.11 * frame);
    slots.push(chosen.slot);
  }
  assert.ok(slots.length > 0 && slots.every((slot) => MOUTH_SLOTS.includes(slot)));
});

test("of a source image whose mouth cannot be seen nothing is known of the skin", () => {
  const skin = (motion) => lookOf({ picture: crop, canonical: level, motion }, guided, 0.5).skin;
  assert.ok(skin(spoken(0)) < 1);
  assert.equal(skin(new Float32Array(spoken(0).length)), Infinity);
});

/** An extraction that the receiver has a source image of, and what it chooses in frames of these pictures. */
function extraction() {
  const one = new Extraction({ networks: {}, size: 256, keypoints, body, guided, still }, null, 5);
  one.canonical = level;
  const taken = () => {
    const source = { picture: crop, canonical: level, motion: spoken(0) };
    one.selection.answer(one.selection.offer({ ...source, look: lookOf(source, guided, sharpness(crop)) }), true);
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
  const behind = mixed(mouthHidden, eyeHidden, (_x, y) => y < 128);
  assert.deepEqual(speak(behind, 20), [], "something lies before half of the mouth and an eye");
  one.measured = null;
  assert.equal(one.chooseWindow(), null, "a face that is not measured");
  const chosen = speak(crop, 30);
  for (const [slots, shape] of [[MOUTH_SLOTS, 1], [EYE_SLOTS, 2]]) { // prettier-ignore
    const found = chosen.filter(({ slot }) => slots.includes(slot));
    assert.ok(found.length >= 3);
    found.forEach(({ slot, scene, window: { picture } }, i) => {
      assert.deepEqual([slot, scene, picture.width], [slots[i], 5, shape * picture.height]);
      assert.ok(picture.height >= 64);
    });
  }
});

test("another choice of source images begins with other windows", () => {
  const { one, taken, speak } = extraction();
  taken();
  const before = speak(crop, 0)[0];
  assert.deepEqual([before.slot, before.scene], [EYE_SLOTS[0], 5]);
  one.forgetSources(6);
  assert.equal(one.windowSent(before, 700), false, "of the sources before");
  assert.deepEqual(speak(crop, 10), []);
  taken();
  const after = speak(crop, 20);
  assert.ok(after.every(({ scene }) => scene === 6));
  const first = (slots) => after.find(({ slot }) => slots.includes(slot))?.slot;
  assert.deepEqual([first(MOUTH_SLOTS), first(EYE_SLOTS)], [0, EYE_SLOTS[0]]);
});
