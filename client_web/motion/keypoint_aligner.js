// @ts-check
/** Aligns the frames of one source image, in order: what dense motion says of a frame, and `align` (`model/registration/keypoint_tracker.py`). */
import { align, aligned, AlignmentReference } from "./alignment.js";
import { planes } from "./crop.js";
import { FollowedSurface } from "./followed_surface.js";
import { keypointTransforms } from "./keypoint_transforms.js";

/**
 * @typedef {import("./alignment.js").Alignment} Alignment
 * @typedef {import("./alignment.js").Layout} Layout
 * @typedef {import("./alignment.js").Thumbnails} Thumbnails
 * @typedef {import("./detector.js").Network} Network
 *
 * @typedef {object} AlignmentModel
 * @property {Network} features (picture, canonical keypoints, motion) of a source image to features one behind the other: at a quarter and
 *   an eighth of its size, and who is the person, (128, 128)
 * @property {Network} surface (canonical keypoints, motion of source and driving frame, features) to flow and masks
 * @property {number[]} counts values of the features at a quarter and at an eighth
 * @property {Layout} layout
 *
 * @typedef {object} AlignedSource a source image
 * @property {import("./region.js").Frame} picture
 * @property {Thumbnails} thumbnails
 * @property {Float32Array<ArrayBuffer>} canonical (K, 3)
 * @property {Float32Array<ArrayBuffer>} motion
 */

export class KeypointAligner {
  /**
   * @param {AlignmentModel} model
   * @param {AlignedSource} source
   * @returns {Promise<KeypointAligner>}
   */
  static async of(model, { picture, thumbnails, canonical, motion }) {
    const found = await model.features(planes(picture), canonical, motion);
    const [quarter, eighth] = model.counts;
    const person = found.subarray(quarter + eighth);
    const reference = new AlignmentReference(canonical, motion, model.layout, thumbnails, person);
    const features = [found.slice(0, quarter), found.slice(quarter, quarter + eighth)];
    return new KeypointAligner((driving) => model.surface(canonical, motion, driving, ...features), reference);
  }

  /**
   * @param {(driving: Float32Array<ArrayBuffer>) => Promise<Float32Array>} surface
   * @param {AlignmentReference} reference
   */
  constructor(surface, reference) {
    this.surface = new FollowedSurface(surface, reference.layout);
    this.reference = reference;
    /** Of the last frame. @type {Alignment | null} */
    this.alignment = null;
  }

  /**
   * @param {Thumbnails} thumbnails of a frame
   * @param {Float32Array<ArrayBuffer>} motion whose background and body are already corrected
   * @returns {Promise<Alignment>}
   */
  async follow(thumbnails, motion) {
    const driving = this.alignment === null ? motion : aligned(motion, this.alignment);
    const transforms = keypointTransforms(this.reference, driving);
    const surface = await this.surface.of(driving, transforms);
    this.alignment = align(this.reference, surface, transforms, motion, thumbnails, this.alignment);
    return this.alignment;
  }
}
