// @ts-check
/**
 * Entropy coder of motion messages: a 32-bit range coder with carry propagation, 16-bit frequencies, and the Laplace tables of
 * residuals (docs/protocol.md, "Payload"). Integers alone, all below 2^53; the same bytes as `model/codec/entropy.py`.
 */
import { BitstreamError } from "./error.js";

const TOTAL_BITS = 16;
const TOTAL = 65536;
const TOP = 2 ** 24;
const WORD = 2 ** 32;

/** Residuals up to this magnitude have a symbol of their own; larger ones are an escape and raw bits. */
const LIMIT = 14;
const ESCAPE_LENGTH_BITS = 5;
/** Levels have 16 bits, so a difference of two has at most 17. */
const MAX_ESCAPE_BITS = 17;
/** Laplace tables; from this width index on, low bits are sent raw. */
const WIDTHS = 28;
export const MAX_WIDTH = 83;
/** Zero bytes that the encoder may have trimmed: never more than a message holds. */
const MAX_TRIMMED = 1100;

/** round(65536 exp(-2^((20 - t) / 4))) for t = 0 ... 36 */
const DECAY = [
  0, 0, 0, 0, 0, 0, 1, 5, 22, 79, 229, 563, 1200, 2268, 3874, 6075, 8869, 12192, 15933, 19953, 24109, 28267, 32314, 36162, 39750,
  43041, 46019, 48681, 51039, 53111, 54917, 56484, 57835, 58997, 59992, 60842, 61565,
];

/**
 * @param {number} t
 * @returns {number[]} chance of |r| > k in 65536ths, k = 0 ... 14
 */
function tails(t) {
  const found = [DECAY[t + 4]];
  for (let k = 0; k < LIMIT; k++) found.push(Math.floor((found[k] * DECAY[t]) / TOTAL));
  return found;
}

/**
 * Cumulative frequencies of the 31 symbols of table t: escape below, r = -14 ... 14, escape above.
 * @param {number} t
 */
function laplaceTable(t) {
  const narrow = tails(t);
  const wide = tails(t + 5);
  const mixed = narrow.map((value, k) => 7 * value + wide[k]);
  const side = [];
  for (let k = 1; k <= LIMIT; k++) side.push(Math.max(1, Math.floor((mixed[k - 1] - mixed[k]) / 16)));
  side.push(Math.max(1, Math.floor(mixed[LIMIT] / 16)));
  const middle = TOTAL - 2 * side.reduce((sum, value) => sum + value, 0);
  return cumulative([...side.slice().reverse(), middle, ...side]);
}

/**
 * @param {readonly number[]} frequencies
 * @returns {number[]} one more, from 0 to 65536
 */
export function cumulative(frequencies) {
  const sums = [0];
  for (const frequency of frequencies) sums.push(sums[sums.length - 1] + frequency);
  return sums;
}

export const LAPLACE_TABLES = Array.from({ length: WIDTHS }, (_, t) => laplaceTable(t));

/** Costs count 256ths of a bit, whole numbers, so that encoders in two languages choose alike. */
export const COST_UNIT = 256;

/**
 * @param {number} frequency of 65536
 * @returns {number} ideal code length in 256ths of a bit
 */
export function symbolCost(frequency) {
  return Math.round(COST_UNIT * (TOTAL_BITS - Math.log2(frequency)));
}

/** Cost of each symbol of each table; an escape counts nine bits more. For encoders, which choose by it. */
const COST = LAPLACE_TABLES.map((sums) =>
  sums.slice(1).map((end, i) => symbolCost(end - sums[i]) + (i === 0 || i === 2 * LIMIT + 2 ? COST_UNIT * (ESCAPE_LENGTH_BITS + 4) : 0)),
);

/** Writes symbols of given cumulative frequencies to bytes. */
export class RangeEncoder {
  constructor() {
    this.low = 0;
    this.range = WORD - 1;
    /** @type {number[]} */
    this.out = [];
  }

  /**
   * Codes the symbol that owns [start, end) of 65536.
   * @param {number} start
   * @param {number} end
   */
  encode(start, end) {
    const unit = Math.floor(this.range / TOTAL);
    let low = this.low + start * unit;
    let span = (end - start) * unit;
    if (low >= WORD) {
      low -= WORD;
      this.#carry();
    }
    while (span < TOP) {
      this.out.push(Math.floor(low / TOP));
      low = (low % TOP) * 256;
      span *= 256;
    }
    this.low = low;
    this.range = span;
  }

  /**
   * @param {number} value
   * @param {number} count raw bits, 0 ... 16
   */
  encodeBits(value, count) {
    if (count === 0) return;
    const unit = 2 ** (TOTAL_BITS - count);
    this.encode(value * unit, (value + 1) * unit);
  }

  /** @returns {Uint8Array<ArrayBuffer>} the shortest bytes that decode to what was coded; a decoder reads zeros beyond their end */
  finish() {
    let count = 0;
    let value = 0;
    for (; count < 5; count++) {
      const unit = 2 ** (32 - 8 * count);
      value = Math.ceil(this.low / unit) * unit;
      if (value < this.low + this.range) break;
    }
    if (value >= WORD) {
      value -= WORD;
      this.#carry();
    }
    for (let i = 0; i < count; i++) this.out.push(Math.floor(value / 2 ** (24 - 8 * i)) % 256);
    while (this.out.length > 0 && this.out[this.out.length - 1] === 0) this.out.pop();
    return Uint8Array.from(this.out);
  }

  #carry() {
    let i = this.out.length - 1;
    while (this.out[i] === 255) this.out[i--] = 0;
    this.out[i] += 1;
  }
}

/** Reads what `RangeEncoder` wrote. Every method throws BitstreamError on bytes that no encoder writes. */
export class RangeDecoder {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.range = WORD - 1;
    this.code = 0;
    for (let i = 0; i < 4; i++) this.code = this.code * 256 + (data[i] ?? 0);
    this.position = 4;
  }

  /**
   * @param {readonly number[]} sums cumulative frequencies
   * @returns {number} the next symbol
   */
  decode(sums) {
    const unit = Math.floor(this.range / TOTAL);
    const target = Math.floor(this.code / unit);
    if (target >= TOTAL) throw new BitstreamError("motion payload is damaged (a code beyond the range)");
    let symbol = 0;
    let above = sums.length - 1;
    while (above - symbol > 1) {
      const middle = (symbol + above) >> 1;
      if (sums[middle] <= target) symbol = middle;
      else above = middle;
    }
    this.#narrow(sums[symbol] * unit, (sums[symbol + 1] - sums[symbol]) * unit);
    return symbol;
  }

  /**
   * @param {number} count 0 ... 16
   * @returns {number} the next raw bits
   */
  decodeBits(count) {
    if (count === 0) return 0;
    const unit = Math.floor(this.range / TOTAL) * 2 ** (TOTAL_BITS - count);
    const value = Math.floor(this.code / unit);
    if (value >= 2 ** count) throw new BitstreamError("motion payload is damaged (a code beyond the range)");
    this.#narrow(value * unit, unit);
    return value;
  }

  /** Checks that the payload ends where the encoder would have ended it. */
  finish() {
    if (this.data.length > this.position || this.position > this.data.length + 4 + MAX_TRIMMED) {
      throw new BitstreamError("motion payload has the wrong length");
    }
    if (this.data.length > 0 && this.data[this.data.length - 1] === 0) {
      throw new BitstreamError("motion payload ends in a byte that no encoder writes");
    }
  }

  /**
   * @param {number} offset
   * @param {number} span
   */
  #narrow(offset, span) {
    this.code -= offset;
    while (span < TOP) {
      if (this.position > this.data.length + 4 + MAX_TRIMMED) throw new BitstreamError("motion payload is cut short");
      this.code = ((this.code * 256) % WORD) + (this.data[this.position] ?? 0);
      this.position += 1;
      span *= 256;
    }
    this.range = span;
  }
}

/**
 * @param {RangeEncoder} coder
 * @param {number} residual
 * @param {number} width index of the Laplace table, 0 ... 83
 */
export function encodeLaplace(coder, residual, width) {
  let raw = 0;
  let low = 0;
  if (width >= WIDTHS) {
    raw = (width - 24) >> 2;
    const shifted = residual + 2 ** (raw - 1);
    residual = Math.floor(shifted / 2 ** raw);
    low = shifted - residual * 2 ** raw;
    width -= 4 * raw;
  }
  const sums = LAPLACE_TABLES[width];
  if (Math.abs(residual) <= LIMIT) {
    coder.encode(sums[residual + LIMIT + 1], sums[residual + LIMIT + 2]);
  } else {
    const symbol = residual < 0 ? 0 : 2 * LIMIT + 2;
    coder.encode(sums[symbol], sums[symbol + 1]);
    const excess = Math.abs(residual) - LIMIT; // at least 1, so its leading one need not be sent
    const length = 32 - Math.clz32(excess);
    coder.encodeBits(length, ESCAPE_LENGTH_BITS);
    coder.encodeBits(excess - 2 ** (length - 1), length - 1);
  }
  if (raw > 0) coder.encodeBits(low, raw);
}

/**
 * @param {RangeDecoder} coder
 * @param {number} width
 */
export function decodeLaplace(coder, width) {
  let raw = 0;
  if (width >= WIDTHS) {
    raw = (width - 24) >> 2;
    width -= 4 * raw;
  }
  const symbol = coder.decode(LAPLACE_TABLES[width]);
  let residual = symbol - LIMIT - 1;
  if (symbol === 0 || symbol === 2 * LIMIT + 2) {
    const length = coder.decodeBits(ESCAPE_LENGTH_BITS);
    if (length < 1 || length > MAX_ESCAPE_BITS) throw new BitstreamError("motion payload is damaged (an escape of impossible length)");
    const magnitude = LIMIT + 2 ** (length - 1) + coder.decodeBits(length - 1);
    residual = symbol === 0 ? -magnitude : magnitude;
  }
  return raw === 0 ? residual : residual * 2 ** raw + coder.decodeBits(raw) - 2 ** (raw - 1);
}

/**
 * About what `encodeLaplace` writes.
 * @param {number} residual
 * @param {number} width
 * @returns {number} 256ths of a bit
 */
export function laplaceCost(residual, width) {
  const raw = Math.max((width - 24) >> 2, 0);
  const half = raw > 0 ? 2 ** (raw - 1) : 0;
  const high = Math.min(LIMIT + 1, Math.max(-LIMIT - 1, Math.floor((residual + half) / 2 ** raw)));
  return COST[width - 4 * raw][high + LIMIT + 1] + COST_UNIT * raw;
}
