// @ts-check
/**
 * Geometry of mouth windows, small pictures of the mouth beside the source image (`model/mouth_window.py`). Mouth coordinates: the
 * corners of the mouth lie at u = -1 and u = 1; v is perpendicular to the line between them, down, in that unit. Pure.
 */
import { placed } from "./motion.js";

/**
 * @typedef {import("./region.js").Frame} Frame
 *
 * @typedef {object} MouthWindow coordinates in steps of `UNIT`, as they travel
 * @property {Frame} picture square
 * @property {number[]} lips u and v of all keypoints but the corners
 * @property {number} middle v of the picture's middle; its u is 0
 * @property {number} half of its side
 */

export const MAX_WINDOW_BYTES = 4096;
/** Beside one source image. */
export const MAX_WINDOWS = 20;
/** Step of coordinates as they travel. */
export const UNIT = 1 / 48;

/** Both corners; outer upper and lower lip, inner upper and lower lip; four of the outer lips between corner and middle, by landmark. */
const MOUTH = [61, 291, 0, 17, 13, 14, 40, 270, 91, 321];
const MIN_SIDE = 32;
const MAX_SIDE = 96;
const FURTHEST = 127 * UNIT;
const AROUND = 0.25; // mouth coordinates around the lips: skin, by which colours are matched
const LEAST_HALF = 1.25;
const LEAST_WIDTH = 0.08; // crop units between the corners: 10 pixels of 256

/**
 * Keypoints of the mouth in crop units, (10, 2).
 * @param {ArrayLike<number>} canonical
 * @param {Float32Array} motion
 * @param {number[]} guided which landmark each keypoint of the face is
 * @returns {number[]}
 */
export function mouthPoints(canonical, motion, guided) {
  const points = placed(canonical, motion, guided.length);
  return MOUTH.flatMap((landmark) => {
    const i = 2 * guided.indexOf(landmark);
    return [points[i], points[i + 1]];
  });
}

/**
 * Keypoints of a picture (10, 2) in mouth coordinates.
 * @param {number[]} points
 * @returns {number[]}
 */
export function mouthCoordinates(points) {
  const { place, axis } = between(points);
  const square = Math.max(axis[0] ** 2 + axis[1] ** 2, 1e-8);
  const found = [];
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = [points[i] - place[0], points[i + 1] - place[1]];
    found.push((x * axis[0] + y * axis[1]) / square, (y * axis[0] - x * axis[1]) / square);
  }
  return found;
}

/**
 * Whether a window can be cut at keypoints (10, 2) in crop units: wholly in the crop, and large enough.
 * @param {number[]} points
 */
export function usable(points) {
  const width = Math.hypot(points[2] - points[0], points[3] - points[1]);
  const near = mouthCoordinates(points).every((value) => Math.abs(value) < FURTHEST);
  return near && points.every((value) => Math.abs(value) < 1) && width >= LEAST_WIDTH;
}

/**
 * How differently two mouths are opened, of mouth coordinates (10, 2) each; 0: alike. Root of the mean square of what a similarity
 * leaves of their difference, in half widths of the second mouth.
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b
 */
export function shapeDistance(a, b) {
  const count = a.length / 2;
  let [ax, ay, bx, by] = [0, 0, 0, 0];
  for (let i = 0; i < 2 * count; i += 2) {
    ax += a[i] / count;
    ay += a[i + 1] / count;
    bx += b[i] / count;
    by += b[i + 1] / count;
  }
  // As complex numbers p and q: the best factor is p* q / p* p, and what it leaves of q is q* q - |p* q|^2 / p* p.
  let [real, imaginary, pp, qq] = [0, 0, 0, 0];
  for (let i = 0; i < 2 * count; i += 2) {
    const [px, py, qx, qy] = [a[i] - ax, a[i + 1] - ay, b[i] - bx, b[i + 1] - by];
    real += px * qx + py * qy;
    imaginary += px * qy - py * qx;
    pp += px * px + py * py;
    qq += qx * qx + qy * qy;
  }
  const left = qq - (real * real + imaginary * imaginary) / Math.max(pp, 1e-9);
  return Math.sqrt(Math.max(left, 0) / count);
}

/**
 * The window on a mouth in a crop whose keypoints (10, 2), crop units, are `usable`.
 * @param {Frame} picture square
 * @param {number[]} points
 * @returns {MouthWindow}
 */
export function cutWindow(picture, points) {
  const side = picture.width;
  const { place, axis } = between(points);
  const lips = mouthCoordinates(points)
    .slice(4)
    .map((value) => Math.round(value / UNIT));
  const heights = lips.filter((_, i) => i % 2 === 1);
  const [low, high] = [Math.min(0, ...heights), Math.max(0, ...heights)];
  const middle = Math.round((low + high) / 2);
  const half = Math.min(255, Math.round(Math.max(LEAST_HALF / UNIT, (high - low) / 2 + AROUND / UNIT)));
  const [extent, centre] = [half * UNIT, middle * UNIT];
  const pixels = Math.hypot(...axis) * side * extent;
  const width = Math.min(Math.max(8 * Math.ceil(pixels / 8), MIN_SIDE), MAX_SIDE);
  // Pixel (x, y) of the window lies at u = half (2 x / W - 1), v = middle + half (2 y / W - 1); and crop units are
  // place + u axis + v (axis turned by a right angle).
  const step = (extent * side) / width;
  const down = [-axis[1], axis[0]];
  const corner = [0, 1].map((i) => ((place[i] - extent * axis[i] + (centre - extent) * down[i] + 1) * side) / 2);
  const data = new Uint8ClampedArray(4 * width * width);
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = [(x + 0.5) * step, (y + 0.5) * step];
      readPixel(picture, corner[0] + u * axis[0] + v * down[0], corner[1] + u * axis[1] + v * down[1], data, 4 * (y * width + x));
    }
  }
  return { picture: { width, height: width, data }, lips, middle, half };
}

/**
 * Middle between the corners of a mouth, and half the way from one to the other.
 * @param {number[]} points
 */
function between([x0, y0, x1, y1]) {
  return { place: [(x0 + x1) / 2, (y0 + y1) / 2], axis: [(x1 - x0) / 2, (y1 - y0) / 2] };
}

const across = new Float64Array(4);
const along = new Float64Array(4);

/**
 * A place of a picture, bicubic; opaque black beyond its edge.
 * @param {Frame} picture
 * @param {number} x pixels from its corner
 * @param {number} y
 * @param {Uint8ClampedArray} found
 * @param {number} at
 */
function readPixel({ width, height, data }, x, y, found, at) {
  found[at + 3] = 255;
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  const [left, top] = [Math.floor(x - 0.5), Math.floor(y - 0.5)];
  weigh(x - 0.5 - left, across);
  weigh(y - 0.5 - top, along);
  for (let channel = 0; channel < 3; channel++) {
    let sum = 0;
    for (let row = 0; row < 4; row++) {
      const line = Math.min(Math.max(top - 1 + row, 0), height - 1) * width;
      for (let column = 0; column < 4; column++) {
        sum += along[row] * across[column] * data[4 * (line + Math.min(Math.max(left - 1 + column, 0), width - 1)) + channel];
      }
    }
    found[at + channel] = Math.floor(sum + 1e-9); // Pillow cuts the fraction off
  }
}

/**
 * Weights of four pixels in a row for a place `part` of the way from the second to the third: Keys's cubic with a = -1, as Pillow's
 * transforms have it.
 * @param {number} part
 * @param {Float64Array} weights
 */
function weigh(part, weights) {
  const other = 1 - part;
  weights[0] = -part * other * other;
  weights[1] = other * (1 + part - part * part);
  weights[2] = part * (1 + other - other * other);
  weights[3] = -other * part * part;
}
