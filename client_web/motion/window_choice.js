// @ts-check
/**
 * Which mouths of a call become mouth windows: those that the source image and the windows sent cover least
 * (`model/source/window_choice.py`). Pure: takes mouth coordinates one by one with their times, in seconds; keeps no pictures.
 */
import { REMEMBERED } from "./mouth_skin.js";
import { MAX_WINDOW_BYTES, MAX_WINDOWS, shapeDistance } from "./mouth_window.js";

/** Sharpness as a share of the source image's from which a frame is sharp enough. */
export const SHARP_ENOUGH = 0.8;

/** Seconds between two mouths that are looked at. */
const LOOK_EVERY = 0.1;
/** Mouths that must be known before the first window is chosen. */
const LEAST_REMEMBERED = 6;
/** Seconds between two windows. */
const BETWEEN = 0.35;
/** The same once all slots are taken. */
const BETWEEN_REPLACED = 5;
/** By how much a window must bring the remembered mouths nearer to their pictures, in the mean. */
const LEAST_GAIN = 0.002;
/** By how much more than it loses, where it takes the place of another. */
const LEAST_REPLACING_GAIN = 0.003;
/** Share of the best gain of late that is worth taking; that best fades by `FADING` a look, or nothing would follow. */
const AS_GOOD = 0.8;
const FADING = 0.99;
/** Bytes of windows in `SPAN` seconds: 4 kbit/s. */
const MOST_BYTES = 30_000;
const SPAN = 60;

/** The mouth windows of one sender. */
export class WindowChoice {
  constructor() {
    /** @type {number[][]} */
    this.seen = [];
    /** Their mouths by slot. @type {number[][]} */
    this.windows = [];
    /** @type {{at: number, bytes: number}[]} */
    this.spent = [];
    this.nextLook = -Infinity;
    this.nextWindow = -Infinity;
    this.best = 0;
  }

  /**
   * Whether `update` would look at a frame: between two looks nothing about it needs to be worked out.
   * @param {number} now
   */
  looks(now) {
    return now >= this.nextLook;
  }

  /**
   * Takes every frame's mouth (10, 2). The caller answers with `sent`, or leaves it.
   * @param {number[]} shape
   * @param {number[]} source mouth of the present source image
   * @param {boolean} clear whether a window can be cut here
   * @param {number} now
   * @returns {number | null} the slot for which a window should be cut from this frame
   */
  update(shape, source, clear, now) {
    if (!this.looks(now)) return null;
    this.nextLook = now + LOOK_EVERY;
    this.seen.push(shape);
    if (this.seen.length > REMEMBERED) this.seen.shift();
    this.best *= FADING;
    if (!clear || this.seen.length < LEAST_REMEMBERED) return null;
    const { slot, gain } = this.#gain(shape, source);
    const least = slot === this.windows.length ? LEAST_GAIN : LEAST_REPLACING_GAIN;
    const good = gain >= Math.max(AS_GOOD * this.best, least);
    this.best = Math.max(this.best, gain);
    return good && now >= this.nextWindow && this.#affordable(now) ? slot : null;
  }

  /**
   * The window that `update` asked for is on its way.
   * @param {number} slot
   * @param {number[]} shape
   * @param {number} bytes
   * @param {number} now
   */
  sent(slot, shape, bytes, now) {
    this.windows[slot] = shape;
    this.spent.push({ at: now, bytes });
    this.nextWindow = now + (this.windows.length < MAX_WINDOWS ? BETWEEN : BETWEEN_REPLACED);
    this.best = 0;
  }

  /** The frames from here on stand beside other source images: choose anew, within the same budget of bytes. */
  cut() {
    this.seen = [];
    this.windows = [];
    this.nextWindow = -Infinity;
    this.best = 0;
  }

  /**
   * For which slot a window of this shape would be best, and what it gains there.
   * @param {number[]} shape
   * @param {number[]} source
   */
  #gain(shape, source) {
    const { seen, windows } = this;
    const own = seen.map((one) => shapeDistance(shape, one));
    const present = [source, ...windows].map((picture) => seen.map((one) => shapeDistance(picture, one)));
    const away = nearest(present);
    if (windows.length < MAX_WINDOWS) return { slot: windows.length, gain: mean(away.map((value, i) => Math.max(value - own[i], 0))) };
    const gains = windows.map((_, slot) => {
      const others = nearest(present.filter((_row, i) => i !== slot + 1));
      return mean(away.map((value, i) => value - Math.min(others[i], own[i])));
    });
    const gain = Math.max(...gains);
    return { slot: gains.indexOf(gain), gain };
  }

  /** @param {number} now */
  #affordable(now) {
    while (this.spent.length > 0 && this.spent[0].at <= now - SPAN) this.spent.shift();
    return this.spent.reduce((sum, { bytes }) => sum + bytes, 0) + MAX_WINDOW_BYTES <= MOST_BYTES;
  }
}

/**
 * The least of each column.
 * @param {number[][]} rows
 */
function nearest(rows) {
  return rows[0].map((_, i) => rows.reduce((least, row) => Math.min(least, row[i]), Infinity));
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
