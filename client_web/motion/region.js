// @ts-check
/**
 * The rotated square of a frame that a network sees (`model/landmarks/roi.py`). Pixels of the frame, x right and y down; a
 * square's corner lies where the centre of its first sample is taken.
 */

/**
 * @typedef {object} Frame a camera's picture
 * @property {number} width
 * @property {number} height
 * @property {Uint8ClampedArray | Uint8Array} data RGBA, row by row
 *
 * @typedef {object} Region
 * @property {number} x centre
 * @property {number} y
 * @property {number} side
 * @property {number} angle radians from the frame's x axis to the square's, clockwise as it is seen
 */

/** Sides of the square in longer sides of the face's box. */
const AROUND = 1.5;

/** Outer corners of both eyes: the line between them is the head's roll. */
const OUTER_CORNERS = [33, 263];

/** Landmarks of a face: x, y, z of each. */
export const LANDMARKS = 478;

/**
 * The square for a face's box, level with the line between two points.
 * @param {number} x centre of the box
 * @param {number} y
 * @param {number} longer side of the box
 * @param {ArrayLike<number>} eyes x and y of the first point, then of the second
 * @returns {Region}
 */
export function regionAround(x, y, longer, eyes) {
  return { x, y, side: AROUND * longer, angle: Math.atan2(eyes[3] - eyes[1], eyes[2] - eyes[0]) };
}

/**
 * Where the face with these landmarks will be in the next frame.
 * @param {Float32Array} points (478, 3), pixels
 * @returns {Region}
 */
export function regionOfLandmarks(points) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < points.length; i += 3) {
    left = Math.min(left, points[i]);
    right = Math.max(right, points[i]);
    top = Math.min(top, points[i + 1]);
    bottom = Math.max(bottom, points[i + 1]);
  }
  const eyes = OUTER_CORNERS.flatMap((index) => [points[3 * index], points[3 * index + 1]]);
  return regionAround((left + right) / 2, (top + bottom) / 2, Math.max(right - left, bottom - top), eyes);
}

/**
 * The smallest upright square that holds a frame.
 * @param {Frame} frame
 * @returns {Region}
 */
export function wholeRegion({ width, height }) {
  return { x: width / 2, y: height / 2, side: Math.max(width, height), angle: 0 };
}

/**
 * What a network sees: (3, size, size) in [0, 1], bilinear without antialiasing.
 * @param {Region} region
 * @param {Frame} frame
 * @param {number} size
 * @param {"border" | "zeros"} [beyond] the frame: its outermost pixels again, or black
 * @returns {Float32Array<ArrayBuffer>}
 */
export function sample(region, frame, size, beyond = "border") {
  const { width, height, data } = frame;
  const [cosine, sine] = axes(region);
  const [alongX, alongY] = [cosine / size, sine / size];
  const startX = region.x - (cosine - sine) / 2;
  const startY = region.y - (sine + cosine) / 2;
  const plane = size * size;
  const found = new Float32Array(3 * plane);
  const zeros = beyond === "zeros";
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      let x = startX + column * alongX - row * alongY;
      let y = startY + column * alongY + row * alongX;
      if (!zeros) {
        x = Math.min(width - 1, Math.max(0, x));
        y = Math.min(height - 1, Math.max(0, y));
      } else if (x <= -1 || y <= -1 || x >= width || y >= height) continue;
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [right, bottom] = [x - left, y - top];
      // Beyond the frame a weight is nothing: a clamped place is then read, and does not count.
      const inLeft = left >= 0 ? 1 - right : 0;
      const inRight = left + 1 < width ? right : 0;
      const inTop = top >= 0 ? 1 - bottom : 0;
      const inBottom = top + 1 < height ? bottom : 0;
      const x0 = left >= 0 ? left : 0;
      const x1 = left + 1 < width ? left + 1 : width - 1;
      const y0 = (top >= 0 ? top : 0) * width;
      const y1 = (top + 1 < height ? top + 1 : height - 1) * width;
      const [a, b, c, d] = [4 * (y0 + x0), 4 * (y0 + x1), 4 * (y1 + x0), 4 * (y1 + x1)];
      const [wa, wb, wc, wd] = [inTop * inLeft, inTop * inRight, inBottom * inLeft, inBottom * inRight];
      const place = row * size + column;
      for (let channel = 0; channel < 3; channel++) {
        found[channel * plane + place] =
          (wa * data[a + channel] + wb * data[b + channel] + wc * data[c + channel] + wd * data[d + channel]) / 255;
      }
    }
  }
  return found;
}

/**
 * A point in sides of the square, from its corner, as pixels of the frame.
 * @param {Region} region
 * @param {number} u
 * @param {number} v
 * @returns {[number, number]}
 */
export function toFrame(region, u, v) {
  const [cosine, sine] = axes(region);
  return [region.x + (u - 0.5) * cosine - (v - 0.5) * sine, region.y + (u - 0.5) * sine + (v - 0.5) * cosine];
}

/**
 * @param {Region} region
 * @returns {[number, number]} the square's upper side as a vector, pixels
 */
function axes({ side, angle }) {
  return [side * Math.cos(angle), side * Math.sin(angle)];
}
