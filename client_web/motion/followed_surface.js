// @ts-check
/**
 * How a network moves a source image, asked of it for one aligned frame of several (`model/registration/surface.py`): between two runs
 * its masks stand still, and the flow follows the keypoints.
 */
import { around, cornersOfPlace, read, unit } from "./sampling.js";

/**
 * @typedef {import("./alignment.js").Layout} Layout
 * @typedef {import("./alignment.js").SurfaceMotion} SurfaceMotion
 * @typedef {import("./keypoint_transforms.js").KeypointTransforms} KeypointTransforms
 */

const SIDE = 64;
const AREA = SIDE * SIDE;
const FLOW_SIDE = 8;
const FLOW_SCALARS = 2 * FLOW_SIDE * FLOW_SIDE;
/** Of so many aligned frames the network runs for one. */
const EVERY = 4;
/** Crop units: beyond it a keypoint of the head has gone too far for masks that stand still. */
const NEAR = 0.04;

export class FollowedSurface {
  /**
   * @param {(driving: Float32Array<ArrayBuffer>) => Promise<Float32Array>} network flow, then masks
   * @param {Layout} layout
   */
  constructor(network, layout) {
    this.network = network;
    this.layout = layout;
    /** What the network said last, and of its flow what neither keypoints nor residual flow explain. @type {{driving: number[], masks: Float32Array, beside: Float32Array} | null} */
    this.run = null;
    /** Frames since. */
    this.since = 0;
  }

  /**
   * @param {Float32Array<ArrayBuffer>} driving
   * @param {KeypointTransforms} transforms of its keypoints
   * @returns {Promise<SurfaceMotion>}
   */
  async of(driving, transforms) {
    const { run } = this;
    this.since += 1;
    if (run !== null && this.since < EVERY && this.#isNear(run.driving, transforms.driving)) {
      const flow = explained(driving, transforms, run.masks, this.layout);
      for (let i = 0; i < flow.length; i++) flow[i] += run.beside[i];
      return { flow, masks: run.masks };
    }
    const found = await this.network(driving);
    const [flow, masks] = [found.subarray(0, 2 * AREA), found.subarray(2 * AREA)];
    const known = explained(driving, transforms, masks, this.layout);
    this.run = { driving: transforms.driving, masks, beside: flow.map((value, i) => value - known[i]) };
    this.since = 0;
    return { flow, masks };
  }

  /**
   * @param {number[]} then (K, 3)
   * @param {number[]} now
   */
  #isNear(then, now) {
    const end = 3 * (this.layout.keypoints - this.layout.body);
    for (let i = 0; i < end; i++) if (i % 3 < 2 && !(Math.abs(now[i] - then[i]) < NEAR)) return false; // nor where it is no number
    return true;
  }
}

/**
 * Flow (2, 64, 64) as keypoints and residual flow of a motion have it, where masks are given.
 * @param {Float32Array} driving
 * @param {KeypointTransforms} transforms
 * @param {Float32Array} masks (K + 1, 64, 64), background first
 * @param {Layout} layout
 */
function explained(driving, { driving: points, head, body, offset, background }, masks, layout) {
  const heads = layout.keypoints - layout.body;
  const [ofHead, ofBody, depth] = [0, 1, 2].map(() => new Float64Array(AREA));
  const flow = new Float32Array(2 * AREA);
  for (let k = 0; k < layout.keypoints; k++) {
    const [z, dx, dy, plane] = [points[3 * k + 2], offset[2 * k], offset[2 * k + 1], (k + 1) * AREA];
    const share = k < heads ? ofHead : ofBody;
    for (let i = 0; i < AREA; i++) {
      const mask = masks[plane + i];
      share[i] += mask;
      flow[i] += mask * dx;
      flow[AREA + i] += mask * dy;
      if (k < heads) depth[i] += mask * z;
    }
  }
  const residual = driving.subarray(driving.length - FLOW_SCALARS);
  const planes = Float32Array.from({ length: FLOW_SCALARS }, (_, i) => residual[2 * (i % (FLOW_SCALARS / 2)) + Math.floor((2 * i) / FLOW_SCALARS)]);
  const place = cornersOfPlace();
  for (let i = 0; i < AREA; i++) {
    const [x, y] = [unit(i % SIDE, SIDE), unit(Math.floor(i / SIDE), SIDE)];
    const z = depth[i] / Math.max(ofHead[i], 1e-4);
    around(x, y, FLOW_SIDE, place);
    for (const axis of [0, 1]) {
      const [h, b] = [3 * axis, 2 * axis];
      const turned = head[h] * x + head[h + 1] * y + head[h + 2] * z;
      const behind = background[h] * x + background[h + 1] * y + background[h + 2];
      flow[axis * AREA + i] +=
        ofHead[i] * turned + ofBody[i] * (body[b] * x + body[b + 1] * y) + masks[i] * behind + read(planes, place, (axis * FLOW_SCALARS) / 2);
    }
  }
  return flow;
}
