// @ts-check
/** The way to the worker that aligns: gives it a frame when one is due, and corrects all frames by what it found last. */
import { aligned } from "./alignment.js";
import { AlignmentRhythm } from "./alignment_rhythm.js";

/**
 * @typedef {import("./alignment_worker.js").ToAligner} ToAligner
 * @typedef {import("./alignment_worker.js").FromAligner} FromAligner
 * @typedef {import("./source_choice.js").Source} Source
 * @typedef {import("./similarity.js").GreyPyramid} GreyPyramid
 *
 * @typedef {object} Port a worker, as far as it is used here
 * @property {(message: ToAligner) => void} postMessage
 * @property {(type: "message", listener: (event: {data: FromAligner}) => void) => void} addEventListener
 */

export class AlignmentLink {
  /** @param {Port} port to a worker that was told to start */
  constructor(port) {
    this.port = port;
    this.rhythm = new AlignmentRhythm();
    this.ready = false;
    /** When the frame was captured that is being aligned. @type {number | null} */
    this.asked = null;
    /** Milliseconds of the last alignment. @type {number | null} */
    this.milliseconds = null;
    /** That is driven. @type {Source | null} */
    this.source = null;
    /** How many were. */
    this.id = 0;
    /** @type {{correction: Float32Array, residualFlow: Float32Array} | null} */
    this.alignment = null;
    port.addEventListener("message", ({ data }) => this.#hear(data));
  }

  /**
   * The motion of a frame, corrected by the last alignment.
   * @param {Source} source that it drives
   * @param {GreyPyramid} picture
   * @param {Float32Array<ArrayBuffer>} motion whose background and body are already corrected
   * @param {number} captured seconds
   * @returns {Float32Array}
   */
  follow(source, picture, motion, captured) {
    if (!this.ready) return motion;
    if (source !== this.source) this.#begin(source);
    const found = this.alignment === null ? motion : aligned(motion, this.alignment);
    if (this.asked === null && this.rhythm.due(captured)) {
      this.asked = captured;
      this.port.postMessage({ type: "frame", id: this.id, thumbnails: { planes: picture.planes }, motion });
    }
    return found;
  }

  /** @param {Source} source */
  #begin(source) {
    this.source = source;
    this.id += 1;
    this.alignment = this.asked = null;
    const { picture, canonical, motion, reference } = source;
    this.port.postMessage({ type: "source", id: this.id, source: { picture, thumbnails: { planes: reference.picture.planes }, canonical, motion } });
  }

  /** @param {FromAligner} message */
  #hear(message) {
    if (message.type === "ready") this.ready = true;
    else if (message.type === "failed") {
      console.info(`keypoints are not aligned: ${message.problem}`);
      this.ready = false;
    } else if (message.id === this.id && this.asked !== null) {
      const { correction, residualFlow, milliseconds } = message;
      this.alignment = { correction, residualFlow };
      this.milliseconds = milliseconds;
      this.rhythm.took(this.asked, milliseconds / 1000);
      this.asked = null;
    }
  }
}
