// @ts-check
/** The square crop of a head: where it lies and how it is cut out of a frame (`model/face/crop.py`). */

/** @typedef {import("./region.js").Frame} Frame */

/**
 * @typedef {object} Crop a square of a frame, pixels; may reach beyond it, where edge pixels are repeated
 * @property {number} x centre
 * @property {number} y
 * @property {number} side
 */

/** Side of the crop in heights of the face, hairline to chin. */
const FACE_HEIGHTS = 2.2;

/** The face's middle lies this many face heights above the crop's centre. */
const FACE_CENTRE_ABOVE = 0.1;

/**
 * The crop of a face, inside the frame, whose shorter side bounds it.
 * @param {number} x middle of the face
 * @param {number} y
 * @param {number} tall hairline to chin
 * @param {number} width of the frame
 * @param {number} height
 * @returns {Crop}
 */
export function faceCrop(x, y, tall, width, height) {
  const side = Math.min(FACE_HEIGHTS * tall, width, height);
  return { x: clamp(x, side / 2, width - side / 2), y: clamp(y + FACE_CENTRE_ABOVE * tall, side / 2, height - side / 2), side };
}

/**
 * How far what stands still in the frame moves from one crop to another: x, y in crop units, log size, roll.
 * @param {Crop} from
 * @param {Crop} to
 * @returns {number[]}
 */
export function cropMotion(from, to) {
  return [((from.x - to.x) * 2) / to.side, ((from.y - to.y) * 2) / to.side, Math.log(from.side / to.side), 0];
}

/**
 * The crop of a frame, resized with antialiasing: Pillow's bicubic resampling, whole pixels averaged first where the crop is at
 * least twice as large as its picture.
 * @param {Crop} crop
 * @param {Frame} frame
 * @param {number} size
 * @returns {Frame} size x size
 */
export function cut(crop, frame, size) {
  const left = crop.x - crop.side / 2;
  const top = crop.y - crop.side / 2;
  const [x0, y0] = [Math.floor(left), Math.floor(top)];
  const x1 = Math.max(Math.ceil(left + crop.side), x0 + 1);
  const y1 = Math.max(Math.ceil(top + crop.side), y0 + 1);
  const region = cutWhole(frame, x0, y0, x1, y1);
  const box = [left - x0, top - y0, Math.min(left + crop.side, x1) - x0, Math.min(top + crop.side, y1) - y0];
  return resized(region, box, size);
}

/**
 * The picture's channels as a network reads them: (3, size, size) in [0, 1].
 * @param {Frame} picture
 * @returns {Float32Array<ArrayBuffer>}
 */
export function planes({ width, height, data }) {
  const count = width * height;
  const found = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) {
    for (let channel = 0; channel < 3; channel++) found[channel * count + i] = data[4 * i + channel] / 255;
  }
  return found;
}

/**
 * Whole pixels, beyond the frame too: its outermost row and column are repeated there.
 * @param {Frame} frame
 * @param {number} x0
 * @param {number} y0
 * @param {number} x1
 * @param {number} y1
 * @returns {Frame}
 */
function cutWhole(frame, x0, y0, x1, y1) {
  const [width, height] = [x1 - x0, y1 - y0];
  const data = new Uint8Array(4 * width * height);
  for (let row = 0; row < height; row++) {
    const line = clamp(y0 + row, 0, frame.height - 1) * frame.width;
    if (x0 >= 0 && x1 <= frame.width) data.set(frame.data.subarray(4 * (line + x0), 4 * (line + x1)), 4 * row * width);
    else {
      for (let column = 0; column < width; column++) {
        const from = 4 * (line + clamp(x0 + column, 0, frame.width - 1));
        data.set(frame.data.subarray(from, from + 4), 4 * (row * width + column));
      }
    }
  }
  return { width, height, data };
}

/**
 * @param {Frame} picture
 * @param {number[]} box left, top, right, bottom of what is wanted of it, pixels
 * @param {number} size
 * @returns {Frame}
 */
function resized(picture, box, size) {
  const scales = [(box[2] - box[0]) / size, (box[3] - box[1]) / size];
  const factors = scales.map((scale) => Math.max(1, Math.floor(scale)));
  let source = picture;
  let wanted = box;
  if (factors[0] > 1 || factors[1] > 1) {
    const reach = scales.map((scale) => 1.5 * scale); // of the filter, less half a pixel
    const x0 = Math.max(0, Math.trunc(box[0] - reach[0]));
    const y0 = Math.max(0, Math.trunc(box[1] - reach[1]));
    const x1 = Math.min(picture.width, Math.ceil(box[2] + reach[0]));
    const y1 = Math.min(picture.height, Math.ceil(box[3] + reach[1]));
    source = reduced(picture, [x0, y0, x1, y1], factors);
    wanted = [(box[0] - x0) / factors[0], (box[1] - y0) / factors[1], (box[2] - x0) / factors[0], (box[3] - y0) / factors[1]];
  }
  const across = coefficients(source.width, wanted[0], wanted[2], size);
  const down = coefficients(source.height, wanted[1], wanted[3], size);
  const first = down.starts[0];
  const last = down.starts[size - 1] + down.weights[size - 1].length;
  const middle = resampledRows(source, first, last, across, size);
  const data = resampledColumns(middle, first, down, size);
  return { width: size, height: size, data };
}

/** Bits of the weights' fraction: Pillow's, so that both round alike. */
const PRECISION = 22;
const HALF = 2 ** (PRECISION - 1);

/**
 * @typedef {object} Coefficients
 * @property {number[]} starts first pixel of each output
 * @property {Int32Array[]} weights
 */

/**
 * Bicubic weights of each output pixel.
 * @param {number} length of the line, pixels
 * @param {number} from where in it the output begins
 * @param {number} to
 * @param {number} size pixels of the output
 * @returns {Coefficients}
 */
function coefficients(length, from, to, size) {
  const scale = (to - from) / size;
  const stretch = Math.max(scale, 1);
  const support = 2 * stretch;
  /** @type {Coefficients} */
  const found = { starts: [], weights: [] };
  for (let i = 0; i < size; i++) {
    const centre = from + (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(length, Math.trunc(centre + support + 0.5));
    const weights = [];
    let sum = 0;
    for (let x = start; x < end; x++) {
      const weight = bicubic((x - centre + 0.5) / stretch);
      weights.push(weight);
      sum += weight;
    }
    found.starts.push(start);
    found.weights.push(
      Int32Array.from(weights, (weight) => {
        const exact = (sum === 0 ? weight : weight / sum) * 2 ** PRECISION;
        return Math.trunc(exact + (exact < 0 ? -0.5 : 0.5));
      }),
    );
  }
  return found;
}

/** @param {number} x */
function bicubic(x) {
  const distance = Math.abs(x);
  if (distance < 1) return (1.5 * distance - 2.5) * distance * distance + 1;
  if (distance < 2) return ((-0.5 * distance + 2.5) * distance - 4) * distance + 2;
  return 0;
}

/**
 * The rows from `first` to `last`, each to `size` pixels.
 * @param {Frame} picture
 * @param {number} first
 * @param {number} last
 * @param {Coefficients} coefficients
 * @param {number} size
 */
function resampledRows({ width, data }, first, last, { starts, weights }, size) {
  const found = new Uint8ClampedArray(4 * (last - first) * size);
  for (let i = 0; i < size; i++) {
    const own = weights[i];
    const taps = own.length;
    for (let row = first; row < last; row++) {
      let [red, green, blue] = [HALF, HALF, HALF];
      let from = 4 * (row * width + starts[i]);
      for (let k = 0; k < taps; k++, from += 4) {
        const weight = own[k];
        red += weight * data[from];
        green += weight * data[from + 1];
        blue += weight * data[from + 2];
      }
      const to = 4 * ((row - first) * size + i);
      found[to] = red >> PRECISION;
      found[to + 1] = green >> PRECISION;
      found[to + 2] = blue >> PRECISION;
    }
  }
  return found;
}

/**
 * The columns of rows of `size` pixels, which begin with row `first`, to `size` pixels each.
 * @param {Uint8ClampedArray} rows
 * @param {number} first
 * @param {Coefficients} coefficients
 * @param {number} size
 */
function resampledColumns(rows, first, { starts, weights }, size) {
  const found = new Uint8ClampedArray(4 * size * size).fill(255);
  const line = 4 * size;
  const sums = new Int32Array(line);
  for (let i = 0; i < size; i++) {
    const own = weights[i];
    sums.fill(HALF);
    for (let k = 0; k < own.length; k++) {
      const weight = own[k];
      const from = (starts[i] + k - first) * line;
      for (let x = 0; x < line; x++) sums[x] += weight * rows[from + x];
    }
    const to = i * line;
    for (let x = 0; x < line; x++) if ((x & 3) !== 3) found[to + x] = sums[x] >> PRECISION;
  }
  return found;
}

/**
 * Means of blocks of whole pixels; those at the right and lower edge may be smaller.
 * @param {Frame} picture
 * @param {number[]} box left, top, right, bottom
 * @param {number[]} factors
 * @returns {Frame}
 */
function reduced(picture, [x0, y0, x1, y1], [across, down]) {
  const width = Math.ceil((x1 - x0) / across);
  const height = Math.ceil((y1 - y0) / down);
  const data = new Uint8Array(4 * width * height);
  for (let row = 0; row < height; row++) {
    const [top, bottom] = [y0 + row * down, Math.min(y1, y0 + (row + 1) * down)];
    for (let column = 0; column < width; column++) {
      const [left, right] = [x0 + column * across, Math.min(x1, x0 + (column + 1) * across)];
      const count = (right - left) * (bottom - top);
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += picture.data[4 * (y * picture.width + x) + channel];
        // Pillow multiplies by an inverse of 24 bits.
        data[4 * (row * width + column) + channel] = Math.floor(((sum + Math.floor(count / 2)) * Math.floor(2 ** 24 / count)) / 2 ** 24);
      }
    }
  }
  return { width, height, data };
}

/**
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
