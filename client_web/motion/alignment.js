// @ts-check
/**
 * Where keypoints really are: the frame registered with the source image, keypoints and residual flow free to move the picture
 * (`model/registration/keypoints.py`, which explains the method and the numbers). Pure: what the network says is given.
 *
 * Unknowns u are keypoints, then places of the residual flow; of a solution x of all comes first, then y of all.
 */
import { joined, precisionOf } from "./alignment_prior.js";
import { factorise, solve, times } from "./matrix.js";
import { EXPRESSION, placed } from "./motion.js";
import { around, cornersOfPlace, read, unit } from "./sampling.js";
import { halved } from "./similarity.js";

/**
 * @typedef {import("./similarity.js").Plane} Plane
 * @typedef {import("./keypoint_transforms.js").KeypointTransforms} KeypointTransforms
 * @typedef {{planes: Plane[]}} Thumbnails of 128 and 64 pixels a side, of a `GreyPyramid`
 *
 * @typedef {object} SurfaceMotion how a network has a driving motion move a source image
 * @property {ArrayLike<number>} flow (2, 64, 64) source coordinates of each driving pixel
 * @property {ArrayLike<number>} masks (K + 1, 64, 64) to what each belongs, background first
 *
 * @typedef {object} Layout
 * @property {number} keypoints K
 * @property {number} features how many of them, the first ones, are of eyes, brows, nose and mouth
 * @property {number} face how many, features included, are guided
 * @property {number} body how many, the last ones, follow the body
 *
 * @typedef {object} Alignment what aligning a frame finds
 * @property {Float32Array} correction (K, 2) from where the extractor has keypoints to where they are, at scale 1
 * @property {Float32Array} residualFlow (64, 2)
 * @property {Float32Array} residual (128, 128) grey values by which the moved source falls short of the frame
 */

const SIDE = 64;
const AREA = SIDE * SIDE;
const FLOW_SIDE = 8;
const FLOW_PLACES = FLOW_SIDE * FLOW_SIDE;
/** Level of the picture at each step: 0 has 128 pixels a side, 1 has 64. */
const FIRST = [1, 1, 0];
const LATER = [1, 0];
const SAMPLES = 600;
const NOISE = 3;
const ALIKE = 1 / 16;
const FEATURE_SIGMA = 0.006;
const OUTLINE_SIGMA = 0.03;
const FREE_SIGMA = 0.045;
const FURTHEST = 2;
const FLOW_SIGMA = 0.02;
const FURTHEST_FLOW = 0.18;
const FORGIVEN = 0.5;
/** How strongly what was found in the frame before is held. */
const HOLD = 4;
const DEVIATIONS_PER_MEDIAN = 1.4826;
const TUKEY = 4.685;
/** Less than that of an unknown does not move a pixel. */
const SLIGHT = 1e-4;

/** A source image to which frames are aligned. */
export class AlignmentReference {
  /**
   * @param {Float32Array} canonical (K, 3)
   * @param {Float32Array} motion of the source image
   * @param {Layout} layout
   * @param {Thumbnails} picture
   * @param {Float32Array} person (128, 128) their share of each pixel
   */
  constructor(canonical, motion, layout, picture, person) {
    this.canonical = canonical;
    this.motion = motion;
    this.layout = layout;
    const { keypoints, features, face } = layout;
    this.levels = [
      { ...picture.planes[0], person },
      { ...picture.planes[1], person: halved(person, 2 * SIDE) },
    ];
    this.sigma = Float64Array.from({ length: keypoints }, (_, k) => (k < features ? FEATURE_SIGMA : k < face ? OUTLINE_SIGMA : FREE_SIGMA));
    const points = placed(canonical, motion, keypoints);
    const places = Array.from({ length: FLOW_PLACES }, (_, i) => [unit(i % FLOW_SIDE, FLOW_SIDE), unit(Math.floor(i / FLOW_SIDE), FLOW_SIDE)]).flat();
    this.precision = joined(precisionOf(points, this.sigma), precisionOf(places, new Float64Array(FLOW_PLACES).fill(FLOW_SIGMA)));
  }
}

/**
 * Driving motion with what an alignment has found.
 * @param {Float32Array} motion
 * @param {{correction: Float32Array, residualFlow: Float32Array}} alignment
 * @returns {Float32Array<ArrayBuffer>}
 */
export function aligned(motion, { correction, residualFlow }) {
  const found = Float32Array.from(motion);
  for (let k = 0; 2 * k < correction.length; k++) for (const axis of [0, 1]) found[EXPRESSION + 3 * k + axis] += correction[2 * k + axis];
  found.set(residualFlow, found.length - residualFlow.length);
  return found;
}

/**
 * Corrects `driving` to what the frame shows.
 * @param {AlignmentReference} reference
 * @param {SurfaceMotion} surface of `driving`, which was `aligned` as the frame before was
 * @param {KeypointTransforms} transforms of the same
 * @param {Float32Array} driving as extracted
 * @param {Thumbnails} picture the frame
 * @param {Alignment | null} before of the frame before; the search begins there
 * @returns {Alignment}
 */
export function align(reference, { flow, masks }, { head, body }, driving, picture, before) {
  const { keypoints: count } = reference.layout;
  const heads = count - reference.layout.body;
  const [frame, half] = picture.planes;
  const size = count + FLOW_PLACES;
  const points = telling(half, covered(reference.levels[0].person, flow));
  const from = sources(points, flow);
  const shares = new Shares(points, masks, count);
  const wanted = [0, 1].map((level) => wantedAt(points, frame.grey, before?.residual ?? null, level));
  // How displacements of a keypoint in the driving frame become those in the source: a, b, c, d of [[a, b], [c, d]].
  const ofHead = [head[0], head[1], head[3], head[4]];
  const local = (/** @type {number} */ keypoint) => (keypoint < heads ? ofHead : body);
  const scale = driving[3];
  const start = new Float64Array(2 * size);
  if (before !== null) {
    for (let k = 0; k < count; k++) {
      const [a, b, c, d] = local(k);
      const [x, y] = [scale * before.correction[2 * k], scale * before.correction[2 * k + 1]];
      start[k] = -(a * x + b * y);
      start[size + k] = -(c * x + d * y);
    }
    for (let i = 0; i < FLOW_PLACES; i++) for (const axis of [0, 1]) start[axis * size + count + i] = before.residualFlow[2 * i + axis];
  }
  const held = before === null ? 1 : 1 + HOLD;
  const shift = new Float64Array(2 * size);
  const compare = (/** @type {number} */ level) => compared(reference.levels[level], wanted[level], from, shares, shift);
  const first = compare(0);
  const spread = spreadOf(first);
  for (const level of before === null ? FIRST : LATER) {
    const change = step(compare(level), shares, reference.precision, held, start, shift);
    if (change === null) break;
    for (let i = 0; i < shift.length; i++) shift[i] += change[i];
  }
  const better = shift.every(Number.isFinite) && badness(compare(0), spread) < badness(first, spread);
  if (!better) shift.fill(0);
  const correction = before === null ? new Float32Array(2 * count) : Float32Array.from(before.correction);
  for (let k = 0; k < count; k++) {
    const [a, b, c, d] = local(k);
    const determinant = (a * d - b * c) * scale;
    const [x, y] = [-shift[k], -shift[size + k]];
    const [u, v] = [(d * x - b * y) / determinant, (a * y - c * x) / determinant];
    // Of a head seen from the side, no displacement may lead there.
    if (Number.isFinite(u)) correction[2 * k] += u;
    if (Number.isFinite(v)) correction[2 * k + 1] += v;
  }
  bound(correction, reference, scale);
  const residualFlow = Float32Array.from({ length: 2 * FLOW_PLACES }, (_, i) => {
    const value = (before?.residualFlow[i] ?? 0) + shift[(i % 2) * size + count + (i >> 1)];
    return Math.min(Math.max(value, -FURTHEST_FLOW), FURTHEST_FLOW);
  });
  return { correction, residualFlow, residual: remaining(reference.levels[0].grey, frame.grey, flow, masks, count, shift) };
}

/**
 * How much of each driving pixel, (64, 64), is the person.
 * @param {Float32Array} person (128, 128)
 * @param {ArrayLike<number>} flow
 */
function covered(person, flow) {
  const place = cornersOfPlace();
  return Float64Array.from({ length: AREA }, (_, i) => {
    around(flow[i], flow[AREA + i], 2 * SIDE, place);
    return read(person, place);
  });
}

/**
 * Places that are compared, x and y of each: more where there is something to see, few of what is not covered by the person.
 * @param {Plane} plane of 64 pixels a side
 * @param {Float64Array} cover
 */
function telling({ across, down }, cover) {
  const golden = (Math.sqrt(5) - 1) / 2;
  const says = Float32Array.from({ length: AREA }, (_, i) => cover[i] * Math.sqrt(across[i] ** 2 + down[i] ** 2 + 1) * ((i * golden) % 1));
  const least = Float32Array.from(says).sort()[AREA - SAMPLES];
  const chosen = [];
  for (let i = 0; i < AREA && chosen.length < SAMPLES; i++) if (says[i] >= least) chosen.push(i);
  const points = new Float64Array(2 * SAMPLES);
  chosen.forEach((i, n) => {
    // Not the middle of a pixel, where the finer picture would be blurred, but one of its quarters.
    points[2 * n] = unit(i % SIDE, SIDE) + (((i % 3) % 2) - 0.5) / SIDE;
    points[2 * n + 1] = unit(Math.floor(i / SIDE), SIDE) + (((i % 5) % 2) - 0.5) / SIDE;
  });
  return points;
}

/**
 * Where what lies at `points` comes from. Displacements go on beyond the border, not places.
 * @param {Float64Array} points
 * @param {ArrayLike<number>} flow
 */
function sources(points, flow) {
  const displacement = Float64Array.from(flow, (value, i) => value - (i < AREA ? unit(i % SIDE, SIDE) : unit(Math.floor((i - AREA) / SIDE), SIDE)));
  const found = Float64Array.from(points);
  const place = cornersOfPlace();
  for (let i = 0; i < points.length; i += 2) {
    around(points[i], points[i + 1], SIDE, place);
    found[i] += read(displacement, place);
    found[i + 1] += read(displacement, place, AREA);
  }
  return found;
}

/** How much of each unknown moves each place: of most places a few. */
class Shares {
  /**
   * @param {Float64Array} points
   * @param {ArrayLike<number>} masks
   * @param {number} keypoints
   */
  constructor(points, masks, keypoints) {
    const most = keypoints + 4;
    this.count = points.length / 2;
    this.unknowns = new Int32Array(this.count * most);
    this.values = new Float64Array(this.count * most);
    /** Where each place's begin; one more for the end. */
    this.begin = new Int32Array(this.count + 1);
    const place = cornersOfPlace();
    let end = 0;
    const add = (/** @type {number} */ unknown, /** @type {number} */ value) => {
      this.unknowns[end] = unknown;
      this.values[end] = value;
      end += 1;
    };
    for (let n = 0; n < this.count; n++) {
      around(points[2 * n], points[2 * n + 1], SIDE, place);
      for (let k = 0; k < keypoints; k++) {
        const share = read(masks, place, (k + 1) * AREA);
        if (share > SLIGHT) add(k, share);
      }
      around(points[2 * n], points[2 * n + 1], FLOW_SIDE, place);
      // At the border a place may be named twice, with nothing the second time.
      for (let i = 0; i < 4; i++) if (place.weights[i] > 0) add(keypoints + place.cells[i], place.weights[i]);
      this.begin[n + 1] = end;
    }
  }

  /**
   * By how much a place's source moves along one axis.
   * @param {number} n
   * @param {Float64Array} shift
   * @param {number} offset of the axis
   */
  moved(n, shift, offset) {
    let sum = 0;
    for (let i = this.begin[n]; i < this.begin[n + 1]; i++) sum += this.values[i] * shift[offset + this.unknowns[i]];
    return sum;
  }
}

/**
 * What the source should show: the frame, less a part of the last frame's residual, so that a picture that errs alike in both does
 * not tremble.
 * @param {Float64Array} points
 * @param {Float32Array} grey (128, 128)
 * @param {Float32Array | null} residual
 * @param {number} level
 */
function wantedAt(points, grey, residual, level) {
  const fine = residual === null ? grey : grey.map((value, i) => value - FORGIVEN * residual[i]);
  const side = level === 0 ? 2 * SIDE : SIDE;
  const plane = level === 0 ? fine : halved(fine, 2 * SIDE);
  const place = cornersOfPlace();
  return Float64Array.from({ length: points.length / 2 }, (_, n) => {
    around(points[2 * n], points[2 * n + 1], side, place);
    return read(plane, place);
  });
}

/**
 * @typedef {object} Compared
 * @property {Float64Array} residual by how much the source differs from the frame
 * @property {Uint8Array} inside which places come from its person
 * @property {Float64Array} across gradient of the source, grey values a crop unit
 * @property {Float64Array} down
 * @property {number} every of so many places one is compared: the coarse picture is smooth
 */

/**
 * @param {Plane & {person: Float32Array}} level
 * @param {Float64Array} wanted
 * @param {Float64Array} from
 * @param {Shares} shares
 * @param {Float64Array} shift
 * @returns {Compared}
 */
function compared(level, wanted, from, shares, shift) {
  const { side, grey, across, down, person } = level;
  const count = wanted.length;
  const every = side === SIDE ? 2 : 1;
  const values = () => new Float64Array(count);
  const found = { residual: values(), inside: new Uint8Array(count), across: values(), down: values(), every };
  const place = cornersOfPlace();
  for (let n = 0; n < count; n += every) {
    const x = from[2 * n] + shares.moved(n, shift, 0);
    const y = from[2 * n + 1] + shares.moved(n, shift, shift.length / 2);
    around(x, y, side, place);
    found.residual[n] = wanted[n] - read(grey, place);
    found.across[n] = (read(across, place) * side) / 2;
    found.down[n] = (read(down, place) * side) / 2;
    // What is behind the person does not move with keypoints.
    found.inside[n] = Math.abs(x) < 1 && Math.abs(y) < 1 && read(person, place) > 0.5 ? 1 : 0;
  }
  const exposure = middle(found.residual.filter((_, n) => found.inside[n] === 1));
  for (let n = 0; n < count; n += every) found.residual[n] -= exposure;
  return found;
}

/**
 * The lower median; 0 of nothing.
 * @param {Float64Array | Float32Array} values spoilt
 */
function middle(values) {
  return values.length === 0 ? 0 : values.sort()[(values.length - 1) >> 1];
}

/**
 * Robust standard deviation.
 * @param {Compared} compared
 */
function spreadOf({ residual, inside }) {
  return Math.max(NOISE, DEVIATIONS_PER_MEDIAN * middle(residual.filter((_, n) => inside[n] === 1).map(Math.abs)));
}

/**
 * How badly the source fits, where every place is compared: the mean square of the residuals, outliers bounded.
 * @param {Compared} compared
 * @param {number} spread
 */
function badness({ residual, inside }, spread) {
  return residual.reduce((sum, value, n) => sum + (inside[n] === 1 ? Math.min(Math.abs(value / spread), TUKEY) : TUKEY) ** 2, 0) / residual.length;
}

/**
 * One step of Gauss-Newton with Tukey's weights; null where there is none.
 * @param {Compared} compared
 * @param {Shares} shares
 * @param {Float64Array} precision (U, U) of one axis
 * @param {number} held how strongly the shift stays 0
 * @param {Float64Array} start where the extractor would have it, less
 * @param {Float64Array} shift
 */
function step(compared, { begin, unknowns, values, count }, precision, held, start, shift) {
  const { residual, inside, across, down, every } = compared;
  const spread = spreadOf(compared);
  const alike = (ALIKE * AREA * every) / count / spread ** 2;
  const size = shift.length / 2;
  const [xx, xy, yy] = [0, 1, 2].map(() => new Float64Array(size * size));
  const right = new Float64Array(2 * size);
  for (let n = 0; n < count; n += every) {
    const near = 1 - (residual[n] / (TUKEY * spread)) ** 2;
    if (inside[n] === 0 || near <= 0) continue;
    const weight = near * near * alike;
    const [gx, gy] = [across[n], down[n]];
    const [wxx, wxy, wyy] = [weight * gx * gx, weight * gx * gy, weight * gy * gy];
    const [rx, ry] = [weight * gx * residual[n], weight * gy * residual[n]];
    for (let i = begin[n]; i < begin[n + 1]; i++) {
      const [row, value] = [unknowns[i] * size, values[i]];
      right[unknowns[i]] += value * rx;
      right[size + unknowns[i]] += value * ry;
      for (let k = begin[n]; k <= i; k++) {
        const cell = row + unknowns[k];
        const product = value * values[k];
        xx[cell] += product * wxx;
        xy[cell] += product * wxy;
        yy[cell] += product * wyy;
      }
    }
  }
  const normal = new Float64Array(4 * size * size);
  for (let i = 0; i < size; i++) {
    for (let k = 0; k <= i; k++) {
      const prior = held * precision[i * size + k];
      normal[i * 2 * size + k] = xx[i * size + k] + prior;
      normal[(size + i) * 2 * size + size + k] = yy[i * size + k] + prior;
      normal[(size + i) * 2 * size + k] = normal[(size + k) * 2 * size + i] = xy[i * size + k];
    }
  }
  for (const offset of [0, size]) {
    const pull = times(precision, Float64Array.from({ length: size }, (_, i) => start[offset + i] + held * shift[offset + i]));
    for (let i = 0; i < size; i++) right[offset + i] -= pull[i];
  }
  if (!factorise(normal, 2 * size)) return null;
  solve(normal, right);
  return right;
}

/**
 * Corrections of the head's keypoints, bounded in place: what passes behind hair would take them along, a little each frame.
 * @param {Float32Array} correction
 * @param {AlignmentReference} reference
 * @param {number} scale
 */
function bound(correction, { layout, sigma }, scale) {
  for (let k = 0; k < layout.keypoints - layout.body; k++) {
    const length = scale * Math.hypot(correction[2 * k], correction[2 * k + 1]);
    const factor = Math.min(1, (FURTHEST * sigma[k]) / Math.max(length, 1e-6));
    correction[2 * k] *= factor;
    correction[2 * k + 1] *= factor;
  }
}

/**
 * Grey values (128, 128) by which the source, moved by `flow` and `shift`, falls short of the frame.
 * @param {Float32Array} source (128, 128)
 * @param {Float32Array} frame (128, 128)
 * @param {ArrayLike<number>} flow
 * @param {ArrayLike<number>} masks
 * @param {number} keypoints
 * @param {Float64Array} shift
 */
function remaining(source, frame, flow, masks, keypoints, shift) {
  const size = shift.length / 2;
  const displacement = new Float64Array(2 * AREA);
  const place = cornersOfPlace();
  for (let i = 0; i < AREA; i++) {
    const [x, y] = [unit(i % SIDE, SIDE), unit(Math.floor(i / SIDE), SIDE)];
    around(x, y, FLOW_SIDE, place);
    displacement[i] = flow[i] - x + read(shift, place, keypoints);
    displacement[AREA + i] = flow[AREA + i] - y + read(shift, place, size + keypoints);
  }
  for (let k = 0; k < keypoints; k++) {
    const [dx, dy, offset] = [shift[k], shift[size + k], (k + 1) * AREA];
    for (let i = 0; i < AREA; i++) {
      displacement[i] += dx * masks[offset + i];
      displacement[AREA + i] += dy * masks[offset + i];
    }
  }
  const residual = new Float32Array(4 * AREA);
  const inside = new Uint8Array(4 * AREA);
  for (let i = 0; i < 4 * AREA; i++) {
    const [px, py] = [unit(i % (2 * SIDE), 2 * SIDE), unit(i >> 7, 2 * SIDE)];
    around(px, py, SIDE, place);
    const [x, y] = [px + read(displacement, place), py + read(displacement, place, AREA)];
    inside[i] = Math.abs(x) < 1 && Math.abs(y) < 1 ? 1 : 0;
    around(x, y, 2 * SIDE, place);
    residual[i] = frame[i] - read(source, place);
  }
  const exposure = middle(residual.filter((_, i) => inside[i] === 1));
  return residual.map((value, i) => (inside[i] === 1 ? value - exposure : 0));
}
