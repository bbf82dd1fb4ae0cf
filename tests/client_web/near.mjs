import assert from "node:assert/strict";

/** Whether numbers are these, but for `bound` each. */
export function near(actual, expected, bound, about = "") {
  assert.equal(actual.length, expected.length, about);
  Array.from(actual).forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= bound, `${about} [${i}]: ${value}, not ${expected[i]}`));
}
