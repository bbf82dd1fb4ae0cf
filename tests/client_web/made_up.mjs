/** Made-up motion, faces and pictures, those of made_up.py and window_vectors.py. */
import { readFile } from "node:fs/promises";

const { keypoints, guided } = JSON.parse(await readFile(new URL("../vectors/extraction.json", import.meta.url))).layout;

/** A motion vector. */
export function vector(seed) {
  const pose = [4 * (seed % 5) - 8, 2 - (seed % 3), 0.75 * seed, 1 + seed / 64, seed / 128, -seed / 256, 0];
  const expression = Array.from({ length: 3 * keypoints }, (_, i) => (((seed * 7 + 3 * i) % 11) - 5) / 256);
  return Float32Array.from([...pose, 0, 0, 0, 0, ...expression, ...new Array(128).fill(0)]);
}

/** Canonical keypoints. */
export const canonical = (seed) => Float32Array.from({ length: 3 * keypoints }, (_, i) => (((seed * 5 + 7 * i) % 37) - 18) / 32);

/** A crop, seen from a place on. */
export function surroundings(x0, y0, other, light) {
  const side = 256;
  const waves = other ? [[5, 2, 90], [1, -4, 70], [3, 7, 140]] : [[3, 1, 94], [1, -2, 62], [2, 5, 150]]; // prettier-ignore
  const data = new Uint8ClampedArray(4 * side * side).fill(255);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [u, v] = [x + 1000 + x0, y + 1000 + y0];
      const grey = waves.reduce((sum, [a, b, period]) => sum + Math.abs(((a * u + b * v + 9000) % (2 * period)) - period), 0);
      data.fill(Math.floor((grey * 200) / 306) + light, 4 * (y * side + x), 4 * (y * side + x) + 3);
    }
  }
  return { width: side, height: side, data };
}

/** A mouth in its own coordinates. */
export function mouthShape(index) {
  const [upper, lower, skew] = [((7 * index) % 12) / 24, ((7 * index) % 12) / 8, ((index % 7) - 3) / 8];
  const [above, below, side] = [upper + 0.25 + (index % 5) / 16, lower + 0.375, 0.4375 + (index % 3) / 16];
  const middle = [skew, -above, skew, below, skew, -upper, skew, lower];
  return [-1, 0, 1, 0, ...middle, -side, -0.7 * above, side, -0.7 * above, -side, 0.9 * below, side, 0.9 * below];
}

/** Both eyes, each in its own coordinates. */
export function eyeShape(index) {
  const [opening, aside] = [((5 * index) % 9) / 16, ((index % 7) - 3) / 8];
  const middle = aside / 4 + 1 / 64;
  const [upper, lower, iris] = [-opening - 1 / 64, opening / 2 + 1 / 64, -opening / 4 - 1 / 128];
  return [1, 0.75].flatMap((high) => [-1, 0, 1, 0, middle, high * upper, middle, high * lower, aside, high * iris]);
}

/** Canonical keypoints at nought. */
export const level = new Float32Array(3 * keypoints);

const MOUTH = [61, 291, 0, 17, 13, 14, 40, 270, 91, 321];
const EYES = [33, 133, 159, 145, 468, 362, 263, 386, 374, 473];

/** Motion, beside those keypoints, of a head that looks ahead, with this mouth and these eyes. */
export function spoken(index) {
  const motion = new Float32Array(vector(0).length);
  motion[3] = 1;
  const [mouth, eyes] = [mouthShape(index), eyeShape(index)];
  const set = (landmark, x, y) => motion.set([x, y], 11 + 3 * guided.indexOf(landmark));
  MOUTH.forEach((landmark, i) => set(landmark, 0.25 * mouth[2 * i], 0.25 * mouth[2 * i + 1] + 0.25));
  EYES.forEach((landmark, i) => {
    const [middle, half] = i < 5 ? [-0.25, 0.125] : [0.25, 0.15625]; // the right eye is a little larger
    set(landmark, half * eyes[2 * i] + middle, half * eyes[2 * i + 1] - 0.25);
  });
  return motion;
}

/** A picture whose pixels are another's where `where` says so. */
export function mixed(picture, other, where) {
  const data = picture.data.map((value, i) => (where((i >> 2) % picture.width, Math.floor((i >> 2) / picture.width)) ? other.data[i] : value));
  return { ...picture, data };
}
