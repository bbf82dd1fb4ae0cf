// @ts-check
/** Whether something lies before an eye: how like the source image's it looks (`model/source/eye_choice.py`). Pure. */
import { eachEye } from "./eye_window.js";
import { EYE_AREA } from "./texture.js";

/** Correlation of an eye and its skin with the source image's from which nothing lies before it. */
const ALIKE = 0.55;
const PLAIN = 1e-12; // an area of one colour is like nothing

/**
 * Both eyes with their skin.
 * @param {import("./region.js").Frame} crop
 * @param {number[]} points `eyePoints`
 * @returns {Float64Array[]} the left and the right one
 */
export function eyeAreas(crop, points) {
  return eachEye(points).map((eye) => EYE_AREA.texture(crop, eye));
}

/**
 * Whether both eyes look like the source image's, so that nothing hides one.
 * @param {Float64Array[]} areas `eyeAreas`
 * @param {Float64Array[]} own the source image's
 */
export function alike(areas, own) {
  return areas.every((area, i) => {
    const [a, b] = [area, own[i]].map(withoutMean);
    return product(a, b) >= ALIKE * Math.sqrt(Math.max(product(a, a) * product(b, b), PLAIN));
  });
}

/** @param {Float64Array} values */
function withoutMean(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

/**
 * @param {Float64Array} a
 * @param {Float64Array} b
 */
function product(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}
