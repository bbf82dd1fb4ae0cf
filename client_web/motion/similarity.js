// @ts-check
/**
 * How part of a picture has moved in another: a shift, a size and a tilt, by registering grey values of small pictures, and a vote of
 * many places on whether to believe it (`model/registration/similarity.py`, which explains the numbers). Pure.
 *
 * A place is x, y in crop units, log size, roll in degrees.
 */
import { unit } from "./sampling.js";

/** @typedef {[number, number, number, number]} Place */
/** @typedef {import("./region.js").Frame} Frame */

/** Pixels of the picture that votes. */
const SIDE = 64;
const THUMBNAIL = 2 * SIDE;
const ENOUGH_PIXELS = 450;
const FEWEST = 150;
/** Steps of Gauss-Newton at each size, at most. @type {{[side: number]: number}} */
const STEPS = { 32: 4, 64: 3, 128: 2 };
const ENOUGH = 0.1 / 128;
const NOISE = 1.5;
const TRUST = [0.06, 0.06, 0.02, 1.5, 0.2, 20].map((sigma) => 1 / sigma ** 2);
const ALIKE = 1 / 16;
const STILL = 0.6 / 256;
const BLOCK = 8;
const BLOCKS = (SIDE / BLOCK) ** 2;
const TEXTURE = 3;
const MOST = 0.8;
const QUIET = 1;
const SLIGHT = 0.1;
const DEVIATIONS_PER_MEDIAN = 1.4826;
const TUKEY = 4.685;
const DEGREE = Math.PI / 180;

/**
 * One size of a picture, `side` pixels square.
 * @typedef {object} Plane
 * @property {number} side
 * @property {Float32Array} grey
 * @property {Float32Array} across gradient, grey values a pixel
 * @property {Float32Array} down
 *
 * @typedef {Plane & {free: Uint8Array, chosen: Int32Array, share: number, x: Float32Array, y: Float32Array}} Level with the pixels that
 *   may be compared, some of these, how many of them, and where they are in crop units
 */

/** A frame as it is registered: 128, 64 and 32 pixels a side. */
export class GreyPyramid {
  /** @param {Frame} picture of a crop, 256 pixels a side or another multiple of 128 */
  constructor({ width, data }) {
    const step = width / THUMBNAIL;
    const fine = new Float32Array(THUMBNAIL * THUMBNAIL);
    for (let y = 0; y < THUMBNAIL; y++) {
      for (let x = 0; x < THUMBNAIL; x++) {
        let sum = 0;
        for (let v = 0; v < step; v++) for (let u = 0; u < step; u++) sum += data[4 * ((y * step + v) * width + x * step + u) + 1];
        fine[y * THUMBNAIL + x] = Math.floor(sum / step ** 2 + 0.5);
      }
    }
    const middle = halved(fine, THUMBNAIL);
    this.planes = [planeOf(fine, THUMBNAIL), planeOf(middle, SIDE), planeOf(halved(middle, SIDE), SIDE / 2)];
  }

  /**
   * @param {(x: number, y: number) => boolean} free whether what lies there, crop units, may be compared
   * @returns {Level[]}
   */
  levels(free) {
    return this.planes.map((plane) => levelOf(plane, free));
  }
}

/**
 * Means of squares of four.
 * @param {Float32Array} grey
 * @param {number} side
 */
export function halved(grey, side) {
  const half = side / 2;
  const found = new Float32Array(half * half);
  for (let y = 0; y < half; y++) {
    for (let x = 0; x < half; x++) {
      const i = 2 * (y * side + x);
      found[y * half + x] = (grey[i] + grey[i + 1] + grey[i + side] + grey[i + side + 1]) / 4;
    }
  }
  return found;
}

/**
 * @param {Float32Array} grey
 * @param {number} side
 * @returns {Plane}
 */
function planeOf(grey, side) {
  const across = new Float32Array(grey.length);
  const down = new Float32Array(grey.length);
  for (let y = 0; y < side; y++) {
    const [above, below] = [Math.max(0, y - 1), Math.min(side - 1, y + 1)];
    for (let x = 0; x < side; x++) {
      const [left, right] = [Math.max(0, x - 1), Math.min(side - 1, x + 1)];
      across[y * side + x] = (grey[y * side + right] - grey[y * side + left]) / (right - left);
      down[y * side + x] = (grey[below * side + x] - grey[above * side + x]) / (below - above);
    }
  }
  return { side, grey, across, down };
}

/**
 * @param {Plane} plane
 * @param {(x: number, y: number) => boolean} isFree
 * @returns {Level}
 */
function levelOf(plane, isFree) {
  const { side } = plane;
  const free = new Uint8Array(side * side);
  /** @type {number[]} */
  const all = [];
  for (let i = 0; i < free.length; i++) {
    if (!isFree(unit(i % side, side), unit(Math.floor(i / side), side))) continue;
    free[i] = 1;
    all.push(i);
  }
  const few = all.length <= ENOUGH_PIXELS;
  const stride = (all.length - 1) / (ENOUGH_PIXELS - 1);
  const chosen = few ? Int32Array.from(all) : Int32Array.from({ length: ENOUGH_PIXELS }, (_, i) => all[i === ENOUGH_PIXELS - 1 ? all.length - 1 : Math.trunc(i * stride)]);
  const x = Float32Array.from(chosen, (i) => unit(i % side, side));
  const y = Float32Array.from(chosen, (i) => unit(Math.floor(i / side), side));
  return { ...plane, free, chosen, share: chosen.length / Math.max(1, all.length), x, y };
}

/**
 * What a level shows where the key's pixels have gone.
 * @param {Level} level
 * @param {Level} key
 * @param {Place} place
 */
function read(level, key, place) {
  const { side, free, grey, across, down } = level;
  const count = key.chosen.length;
  const found = { x: new Float32Array(count), y: new Float32Array(count), inside: new Uint8Array(count), grey: new Float32Array(count), across: new Float32Array(count), down: new Float32Array(count), count: 0 };
  const [c, s] = turn(place);
  const most = side - 1.001;
  for (let i = 0; i < count; i++) {
    const x = c * key.x[i] - s * key.y[i];
    const y = s * key.x[i] + c * key.y[i];
    const u = ((x + place[0]) * side + side - 1) / 2;
    const v = ((y + place[1]) * side + side - 1) / 2;
    const [bu, bv] = [Math.min(Math.max(u, 0), most), Math.min(Math.max(v, 0), most)];
    const [left, top] = [Math.trunc(bu), Math.trunc(bv)];
    const [fx, fy] = [bu - left, bv - top];
    const cell = top * side + left;
    const [wa, wb, wc, wd] = [(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy];
    found.x[i] = x;
    found.y[i] = y;
    found.grey[i] = wa * grey[cell] + wb * grey[cell + 1] + wc * grey[cell + side] + wd * grey[cell + side + 1];
    found.across[i] = wa * across[cell] + wb * across[cell + 1] + wc * across[cell + side] + wd * across[cell + side + 1];
    found.down[i] = wa * down[cell] + wb * down[cell + 1] + wc * down[cell + side] + wd * down[cell + side + 1];
    if (Math.abs(u - bu) < 0.01 && Math.abs(v - bv) < 0.01 && free[cell] === 1) {
      found.inside[i] = 1;
      found.count += 1;
    }
  }
  return found;
}

/**
 * The place near `start` at which the key's part fits the frame; `start` where too little of it is seen.
 * @param {Level[]} key
 * @param {Level[]} frame
 * @param {Place} start
 */
export function registered(key, frame, start) {
  let place = start;
  for (let i = key.length - 1; i >= 0; i--) place = register(key[i], frame[i], place, start);
  return place;
}

/**
 * @param {Level} key
 * @param {Level} frame
 * @param {Place} start
 * @param {Place} likely towards which it is drawn
 * @returns {Place}
 */
function register(key, frame, start, likely) {
  const perUnit = key.side / 2;
  const fewest = Math.max(8, FEWEST * key.share * (key.side / SIDE) ** 2);
  // Shift, size and tilt, and the gain and offset of a camera whose exposure has changed.
  const found = [...start, 1, 0];
  const likeliest = [...likely, 1, 0];
  const column = new Float64Array(6);
  column[5] = -1;
  for (let step = 0; step < STEPS[key.side]; step++) {
    const seen = read(frame, key, /** @type {Place} */ (found.slice(0, 4)));
    if (seen.count < fewest) return start;
    const residual = Float32Array.from(key.chosen, (place, i) => found[4] * key.grey[place] + found[5] - seen.grey[i]);
    const spread = Math.max(NOISE, DEVIATIONS_PER_MEDIAN * middle(residual.filter((_, i) => seen.inside[i] === 1).map(Math.abs)));
    const normal = Array.from({ length: 6 }, () => new Float64Array(6));
    const right = TRUST.map((trust, i) => trust * (likeliest[i] - found[i]));
    for (let i = 0; i < residual.length; i++) {
      if (seen.inside[i] === 0) continue;
      const near = 1 - (residual[i] / (TUKEY * spread)) ** 2; // Tukey
      if (near <= 0) continue;
      const weight = (near * near * ALIKE) / key.share / (spread * spread);
      const gx = (column[0] = seen.across[i] * perUnit);
      const gy = (column[1] = seen.down[i] * perUnit);
      column[2] = gx * seen.x[i] + gy * seen.y[i];
      column[3] = (gy * seen.x[i] - gx * seen.y[i]) * DEGREE;
      column[4] = -key.grey[key.chosen[i]];
      for (let a = 0; a < 6; a++) {
        const weighted = weight * column[a];
        right[a] += weighted * residual[i];
        for (let b = a; b < 6; b++) normal[a][b] += weighted * column[b];
      }
    }
    for (let a = 0; a < 6; a++) {
      normal[a][a] += TRUST[a];
      for (let b = 0; b < a; b++) normal[a][b] = normal[b][a];
    }
    const change = solved(normal, right);
    for (let a = 0; a < 6; a++) found[a] += change[a];
    if (Math.abs(change[0]) + Math.abs(change[1]) + Math.abs(change[2]) + Math.abs(change[3]) * DEGREE < ENOUGH) break;
  }
  return /** @type {Place} */ (found.slice(0, 4));
}

/**
 * Of a symmetric positive definite system; changes both.
 * @param {Float64Array[]} matrix
 * @param {number[]} right
 */
function solved(matrix, right) {
  const size = right.length;
  for (let i = 0; i < size; i++) {
    for (let row = i + 1; row < size; row++) {
      const factor = matrix[row][i] / matrix[i][i];
      for (let k = i; k < size; k++) matrix[row][k] -= factor * matrix[i][k];
      right[row] -= factor * right[i];
    }
  }
  for (let i = size - 1; i >= 0; i--) {
    for (let k = i + 1; k < size; k++) right[i] -= matrix[i][k] * right[k];
    right[i] /= matrix[i][i];
  }
  return right;
}

/**
 * About the median.
 * @param {Float32Array} values
 */
function middle(values) {
  return values.sort()[Math.floor(values.length / 2)];
}

/** Blocks of the key's part, 8 x 8 pixels each, vote on whether the frame fits. */
export class BlockVote {
  /**
   * @param {Level[]} keys
   * @param {Level[]} frames
   * @param {Place} current stays unless at least `votes` blocks prefer another
   * @param {number} votes
   */
  constructor(keys, frames, current, votes) {
    this.key = /** @type {Level} */ (keys.find(({ side }) => side === SIDE));
    this.frame = /** @type {Level} */ (frames.find(({ side }) => side === SIDE));
    this.votes = votes;
    this.blocks = Int32Array.from(this.key.chosen, (i) => Math.floor(i / SIDE / BLOCK) * (SIDE / BLOCK) + Math.floor((i % SIDE) / BLOCK));
    this.seen = this.#residuals(current);
    /** Share of the key's part that is seen. */
    this.overlap = this.blocks.length === 0 ? 1 : this.seen.count / this.blocks.length;
    const { texture, telling } = this.#textures(this.seen.inside);
    this.texture = texture;
    this.telling = telling;
  }

  /** Whether there is enough to see for a vote. */
  get tells() {
    return count(this.telling) >= this.votes;
  }

  /** Whether nothing has moved, or too little can be seen to tell. */
  settled() {
    if (!this.tells) return true;
    const square = this.#mean((i) => this.seen.residual[i] ** 2, this.seen.inside);
    const fits = this.telling.map((telling, i) => telling && square[i] < Math.max(QUIET ** 2, (SLIGHT * this.texture[i]) ** 2));
    return count(fits) >= MOST * count(this.telling);
  }

  /**
   * Whether many blocks fit better at `place`, and few worse.
   * @param {Place} place
   */
  prefers(place) {
    const there = this.#residuals(place);
    const both = there.inside.map((inside, i) => inside & this.seen.inside[i]);
    const { telling, enough } = this.#textures(both);
    if (!enough) return false;
    const bound = (4 * Math.max(NOISE, middle(there.residual.filter((_, i) => both[i] === 1).map(Math.abs)))) ** 2;
    const before = this.#mean((i) => Math.min(this.seen.residual[i] ** 2, bound), both);
    const after = this.#mean((i) => Math.min(there.residual[i] ** 2, bound), both);
    const better = count(telling.map((tells, i) => tells && after[i] < 0.9 * before[i]));
    const worse = count(telling.map((tells, i) => tells && after[i] > 1.1 * before[i]));
    return better >= this.votes && better >= 2 * worse;
  }

  /**
   * Which of the key's pixels the frame shows, and by how many grey values they differ there.
   * @param {Place} place
   */
  #residuals(place) {
    const { key } = this;
    const seen = read(this.frame, key, place);
    const residual = seen.grey.map((grey, i) => grey - key.grey[key.chosen[i]]);
    const shift = seen.count === 0 ? 0 : middle(residual.filter((_, i) => seen.inside[i] === 1));
    return { inside: seen.inside, count: seen.count, residual: residual.map((value) => value - shift) };
  }

  /**
   * Texture of each block, grey values a pixel; which of them can tell; whether enough is seen.
   * @param {Uint8Array} seen
   */
  #textures(seen) {
    const { key } = this;
    const pixels = new Int32Array(BLOCKS);
    let all = 0;
    seen.forEach((inside, i) => {
      pixels[this.blocks[i]] += inside;
      all += inside;
    });
    const texture = this.#mean((i) => key.across[key.chosen[i]] ** 2 + key.down[key.chosen[i]] ** 2, seen).map(Math.sqrt);
    const telling = Array.from(pixels, (number, i) => number >= (key.share * BLOCK ** 2) / 3 && texture[i] > TEXTURE);
    return { texture, telling, enough: all >= FEWEST * key.share };
  }

  /**
   * Of each block.
   * @param {(pixel: number) => number} value
   * @param {Uint8Array} seen
   */
  #mean(value, seen) {
    const sums = new Float64Array(BLOCKS);
    const pixels = new Int32Array(BLOCKS);
    for (let i = 0; i < seen.length; i++) {
      if (seen[i] === 0) continue;
      sums[this.blocks[i]] += value(i);
      pixels[this.blocks[i]] += 1;
    }
    return sums.map((sum, i) => sum / Math.max(1, pixels[i]));
  }
}

/** @param {boolean[]} flags */
function count(flags) {
  return flags.filter(Boolean).length;
}

/** @param {ArrayLike<number>} place */
function turn(place) {
  const factor = Math.exp(place[2]);
  return [factor * Math.cos(place[3] * DEGREE), factor * Math.sin(place[3] * DEGREE)];
}

/**
 * Where a point of a part is that has gone to `place`.
 * @param {ArrayLike<number>} point
 * @param {ArrayLike<number>} place
 * @returns {[number, number]}
 */
export function moved(point, place) {
  const [c, s] = turn(place);
  return [c * point[0] - s * point[1] + place[0], s * point[0] + c * point[1] + place[1]];
}

/**
 * The place of what lies at `first` and is then moved by `second`.
 * @param {ArrayLike<number>} second
 * @param {ArrayLike<number>} first
 * @returns {Place}
 */
export function after(second, first) {
  return [...moved(first, second), first[2] + second[2], first[3] + second[3]];
}

/**
 * Where the background lies at place `now` that lay unmoved at place `then`.
 * @param {Place} now
 * @param {Place} then
 * @returns {Place}
 */
export function since(now, then) {
  const [size, roll] = [now[2] - then[2], now[3] - then[3]];
  const [x, y] = moved(then, [0, 0, size, roll]);
  return [now[0] - x, now[1] - y, size, roll];
}

/**
 * How far the corners of the picture move, crop units, at most.
 * @param {Place} place
 */
export function cornerShift(place) {
  const corners = [[-1, -1], [1, -1], [-1, 1], [1, 1]]; // prettier-ignore
  return Math.max(...corners.flatMap((corner) => moved(corner, place).map((value, axis) => Math.abs(value - corner[axis]))));
}

/**
 * Whether places differ by more than can be seen.
 * @param {Place} now
 * @param {Place} then
 */
export function hasMoved(now, then) {
  return cornerShift(since(now, then)) > STILL;
}
