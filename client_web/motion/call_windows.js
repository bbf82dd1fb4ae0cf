// @ts-check
/**
 * The windows of a call, of mouth and eyes: which frames a sender cuts one from, and where, while it captures
 * (`model/source/call_windows.py`). Pure: told the time; keeps no pictures.
 */
import { alike, eyeAreas } from "./eye_area.js";
import { cutEyes, eyeCoordinates, eyePoints, eyesUsable } from "./eye_window.js";
import { CallMouth, skinUnevenness } from "./mouth_skin.js";
import { cutMouth, mouthPoints, mouthUsable } from "./mouth_window.js";
import { sharpness } from "./source_choice.js";
import { cornerCoordinates } from "./window.js";
import { Budget, EYES, MOUTH, SHARP_ENOUGH, WindowChoice } from "./window_choice.js";

/**
 * @typedef {import("./region.js").Frame} Frame
 * @typedef {import("./mouth_window.js").MouthWindow} MouthWindow
 * @typedef {import("./eye_window.js").EyeWindow} EyeWindow
 *
 * @typedef {object} Face a picture of a face, and what moves it
 * @property {Frame} picture square
 * @property {ArrayLike<number>} canonical
 * @property {Float32Array} motion
 *
 * @typedef {object} SourceLook what a source image shows
 * @property {number[]} mouth (10, 2) mouth coordinates
 * @property {number[]} eyes (2, 5, 2) eye coordinates
 * @property {Float64Array[]} areas `eyeAreas`
 * @property {number} skin `skinUnevenness`; infinite where it cannot be told
 * @property {number} sharpness
 *
 * @typedef {object} ChosenWindow a window that is worth sending
 * @property {number} slot
 * @property {MouthWindow | EyeWindow} window
 * @property {number[]} shape
 * @property {import("./window_choice.js").Feature} feature
 */

/**
 * @param {Face} face of the source image
 * @param {number[]} guided which landmark each keypoint of the face is
 * @param {number} sharp sharpness
 * @returns {SourceLook}
 */
export function lookOf({ picture, canonical, motion }, guided, sharp) {
  const [mouth, eyes] = [mouthPoints(canonical, motion, guided), eyePoints(canonical, motion, guided)];
  return {
    mouth: cornerCoordinates(mouth),
    eyes: eyeCoordinates(eyes),
    areas: eyeAreas(picture, eyes),
    skin: mouthUsable(mouth) ? skinUnevenness(picture, mouth) : Infinity,
    sharpness: sharp,
  };
}

/** Those of one sender. */
export class CallWindows {
  /** @param {number[]} guided which landmark each keypoint of the face is */
  constructor(guided) {
    const budget = new Budget();
    this.guided = guided;
    this.mouths = new WindowChoice(MOUTH, budget);
    this.eyes = new WindowChoice(EYES, budget);
    /** @type {SourceLook | null} */
    this.beside = null;
    this.mouth = new CallMouth(Infinity);
  }

  /**
   * Whether `update` would look at a frame: between two looks nothing about it needs to be worked out.
   * @param {number} now
   */
  looks(now) {
    return this.mouths.looks(now);
  }

  /** The frames from here on stand beside other source images: choose anew, within the same budget of bytes. */
  cut() {
    this.mouths.cut();
    this.eyes.cut();
  }

  /**
   * Takes every frame whose face was measured. The caller answers with `sent` for its window, or leaves it.
   * @param {Face} face
   * @param {SourceLook} source
   * @param {number} now
   * @returns {ChosenWindow | null}
   */
  update({ picture, canonical, motion }, source, now) {
    if (source !== this.beside) {
      this.mouth = new CallMouth(source.skin); // what is usual for one picture says nothing of another
      this.beside = source;
    }
    const [mouth, eyes] = [mouthPoints(canonical, motion, this.guided), eyePoints(canonical, motion, this.guided)];
    const clear = sharpness(picture) >= SHARP_ENOUGH * source.sharpness;
    const bare = clear && mouthUsable(mouth) && !this.mouth.update(skinUnevenness(picture, mouth));
    const plain = clear && eyesUsable(eyes) && alike(eyeAreas(picture, eyes), source.areas);
    const seen = [
      { choice: this.eyes, shape: eyeCoordinates(eyes), own: source.eyes, can: plain, cut: () => cutEyes(picture, eyes) },
      { choice: this.mouths, shape: cornerCoordinates(mouth), own: source.mouth, can: bare, cut: () => cutMouth(picture, mouth) },
    ];
    /** @type {ChosenWindow | null} */
    let chosen = null;
    for (const { choice, shape, own, can, cut } of seen) {
      // Both remember every frame; but two windows of one frame would spend the same bytes of the budget. Eyes first: a
      // blink is over sooner than a word.
      const slot = choice.update(shape, own, can && chosen === null, now);
      if (slot !== null) chosen = { slot, window: cut(), shape, feature: choice.feature };
    }
    return chosen;
  }

  /**
   * A window is on its way.
   * @param {ChosenWindow} window
   * @param {number} bytes
   * @param {number} now
   */
  sent({ slot, shape, feature }, bytes, now) {
    (feature === MOUTH ? this.mouths : this.eyes).sent(slot, shape, bytes, now);
  }
}
