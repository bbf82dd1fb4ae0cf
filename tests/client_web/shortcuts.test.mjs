import assert from "node:assert/strict";
import { test } from "node:test";
import { SHORTCUTS, shortcutOf } from "../../client_web/shortcuts.js";

const press = (key, more = {}) => ({ key, ctrlKey: false, altKey: false, metaKey: false, repeat: false, ...more });

test("each key means one thing, in either case", () => {
  assert.deepEqual(["m", "V", "n", "P", "x", "Escape"].map((key) => shortcutOf(press(key), false)), ["microphone", "camera", "numbers", "pictureInPicture", null, null]);
  assert.equal(new Set(Object.values(SHORTCUTS).map(({ key }) => key)).size, 4);
});

test("typing, modifiers and held keys mean nothing", () => {
  assert.equal(shortcutOf(press("m"), true), null);
  for (const more of [{ ctrlKey: true }, { altKey: true }, { metaKey: true }, { repeat: true }]) assert.equal(shortcutOf(press("m", more), false), null);
});
