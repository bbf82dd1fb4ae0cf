// @ts-check
/**
 * Which frames of a call become windows: those whose mouth or eyes the source image and the windows sent cover least
 * (`model/source/window_choice.py`). Pure: takes shapes one by one with their times, in seconds; keeps no pictures.
 */
import { eyeDistance } from "./eye_window.js";
import { REMEMBERED } from "./mouth_skin.js";
import { shapeDistance } from "./mouth_window.js";
import { EYE_SLOTS, MAX_WINDOW_BYTES, MOUTH_SLOTS } from "./window.js";

/**
 * @typedef {object} Feature what a window shows: a mouth, (10, 2), or both eyes, (2, 5, 2), in coordinates of their corners
 * @property {(a: number[], b: number[]) => number} distance
 * @property {number[]} slots
 * @property {number} leastGain by how much a window must bring the remembered shapes nearer to their pictures, in the mean
 * @property {number} leastReplacingGain by how much more than it loses, where it takes the place of another
 */

/** Sharpness as a share of the source image's from which a frame is sharp enough. */
export const SHARP_ENOUGH = 0.8;

/** Seconds between two shapes that are looked at. */
const LOOK_EVERY = 0.1;
/** Shapes that must be known before the first window is chosen. */
const LEAST_REMEMBERED = 6;
/** Seconds between two windows. */
const BETWEEN = 0.2;
/** The same once all slots are taken. */
const BETWEEN_REPLACED = 5;
/** Share of the best gain of late that is worth taking; that best fades by `FADING` a look, or nothing would follow. */
const AS_GOOD = 0.8;
const FADING = 0.99;
/** Bytes of windows in `SPAN` seconds: 4 kbit/s. */
const MOST_BYTES = 30_000;
const SPAN = 60;

/** @type {Feature} */
export const MOUTH = { distance: shapeDistance, slots: MOUTH_SLOTS, leastGain: 0.002, leastReplacingGain: 0.003 };
/** @type {Feature} */
export const EYES = { distance: eyeDistance, slots: EYE_SLOTS, leastGain: 0.004, leastReplacingGain: 0.006 };

/** Bytes of all windows of one sender. */
export class Budget {
  constructor() {
    /** @type {{at: number, bytes: number}[]} */
    this.spent = [];
  }

  /**
   * Whether one more may be sent.
   * @param {number} now
   */
  affords(now) {
    while (this.spent.length > 0 && this.spent[0].at <= now - SPAN) this.spent.shift();
    return this.spent.reduce((sum, { bytes }) => sum + bytes, 0) + MAX_WINDOW_BYTES <= MOST_BYTES;
  }

  /**
   * So many bytes are on their way.
   * @param {number} bytes
   * @param {number} now
   */
  spend(bytes, now) {
    this.spent.push({ at: now, bytes });
  }
}

/** The windows of one feature of one sender. */
export class WindowChoice {
  /**
   * @param {Feature} feature
   * @param {Budget} budget what it shares with the other feature
   */
  constructor(feature, budget) {
    this.feature = feature;
    this.budget = budget;
    /** @type {number[][]} */
    this.seen = [];
    /** Their shapes by slot. @type {number[][]} */
    this.windows = [];
    /** How far each of them is from each shape seen. @type {number[][]} */
    this.away = [];
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
   * Takes every frame's shape. The caller answers with `sent`, or leaves it.
   * @param {number[]} shape
   * @param {number[]} source shape of the present source image
   * @param {boolean} clear whether a window can be cut here
   * @param {number} now
   * @returns {number | null} the slot for which a window should be cut from this frame
   */
  update(shape, source, clear, now) {
    if (!this.looks(now)) return null;
    this.nextLook = now + LOOK_EVERY;
    this.seen.push(shape);
    this.away.forEach((row, place) => row.push(this.feature.distance(this.windows[place], shape)));
    if (this.seen.length > REMEMBERED) [this.seen, ...this.away].forEach((row) => row.shift());
    this.best *= FADING;
    if (!clear || this.seen.length < LEAST_REMEMBERED) return null;
    const { place, gain } = this.#gain(shape, source);
    const { slots, leastGain, leastReplacingGain } = this.feature;
    const good = gain >= Math.max(AS_GOOD * this.best, place === this.windows.length ? leastGain : leastReplacingGain);
    this.best = Math.max(this.best, gain);
    return good && now >= this.nextWindow && this.budget.affords(now) ? slots[place] : null;
  }

  /**
   * The window that `update` asked for is on its way.
   * @param {number} slot
   * @param {number[]} shape
   * @param {number} bytes
   * @param {number} now
   */
  sent(slot, shape, bytes, now) {
    const { distance, slots } = this.feature;
    const place = Math.min(slots.indexOf(slot), this.windows.length);
    this.windows[place] = shape;
    this.away[place] = this.seen.map((one) => distance(shape, one));
    this.budget.spend(bytes, now);
    this.nextWindow = now + (this.windows.length < slots.length ? BETWEEN : BETWEEN_REPLACED);
    this.best = 0;
  }

  /** The frames from here on stand beside other source images: choose anew, within the same budget of bytes. */
  cut() {
    this.seen = [];
    this.windows = [];
    this.away = [];
    this.nextWindow = -Infinity;
    this.best = 0;
  }

  /**
   * At which place among the slots a window of this shape would be best, and what it gains there.
   * @param {number[]} shape
   * @param {number[]} source
   */
  #gain(shape, source) {
    const { seen, windows } = this;
    const { distance, slots } = this.feature;
    const own = seen.map((one) => distance(shape, one));
    const fromSource = seen.map((one) => distance(source, one));
    const taken = windows.length === slots.length;
    const gains = new Array(taken ? windows.length : 1).fill(0); // by the slot that it takes; or of a free one
    for (let i = 0; i < seen.length; i++) {
      // Without the nearest picture the second nearest is: of the source image, which is no window, and of the windows.
      let [nearest, least, second] = [-1, fromSource[i], Infinity];
      for (let place = 0; place < windows.length; place++) {
        const away = this.away[place][i];
        if (away < least) [nearest, least, second] = [place, away, least];
        else if (away < second) second = away;
      }
      if (taken) for (let place = 0; place < gains.length; place++) gains[place] += least - Math.min(place === nearest ? second : least, own[i]);
      else gains[0] += Math.max(least - own[i], 0);
    }
    const gain = Math.max(...gains);
    return { place: taken ? gains.indexOf(gain) : windows.length, gain: gain / seen.length };
  }
}
