/** Made-up motion and pictures, those of extraction_vectors.py. */
import { readFile } from "node:fs/promises";

const { keypoints } = JSON.parse(await readFile(new URL("../vectors/extraction.json", import.meta.url))).layout;

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
