// @ts-check
/**
 * Motion vectors (`model/motion.py`): yaw, pitch, roll in degrees, scale, t_x, t_y, t_z; the background's x, y, log size and
 * roll; then delta of each keypoint, then the residual flow. A keypoint lies at x = s (R x_c + delta) + t.
 */

/** Where the background begins in a vector, and where the expression. */
export const BACKGROUND = 7;
export const EXPRESSION = 11;

/**
 * R = Z(roll) Y(yaw) X(pitch), row by row.
 * @param {ArrayLike<number>} vector
 * @returns {number[]} (3, 3)
 */
export function rotationOf(vector) {
  const [y, p, r] = [vector[0], vector[1], vector[2]].map((degrees) => (degrees * Math.PI) / 180);
  const [cy, sy, cp, sp, cr, sr] = [Math.cos(y), Math.sin(y), Math.cos(p), Math.sin(p), Math.cos(r), Math.sin(r)];
  return [cr * cy, -sr * cp + cr * sy * sp, -sr * sp - cr * sy * cp, sr * cy, cr * cp + sr * sy * sp, cr * sp - sr * sy * cp, sy, -cy * sp, cy * cp];
}

/**
 * One coordinate of R x.
 * @param {number[]} rotation
 * @param {ArrayLike<number>} points
 * @param {number} point
 * @param {number} axis
 */
function turned(rotation, points, point, axis) {
  const [row, i] = [3 * axis, 3 * point];
  return rotation[row] * points[i] + rotation[row + 1] * points[i + 1] + rotation[row + 2] * points[i + 2];
}

/**
 * Keypoints of the face out of landmarks: crop units, z from the middle of those that expression leaves in place.
 * @param {Float32Array} landmarks (478, 3) pixels of the frame
 * @param {import("./crop.js").Crop} crop
 * @param {{guided: number[], still: number[]}} named which landmarks
 * @returns {Float32Array} (J, 3)
 */
export function facePoints(landmarks, crop, { guided, still }) {
  const unit = 2 / crop.side;
  const depth = still.reduce((sum, index) => sum + landmarks[3 * index + 2], 0) / still.length;
  return Float32Array.from(
    guided.flatMap((index) => [
      (landmarks[3 * index] + 0.5 - crop.x) * unit,
      (landmarks[3 * index + 1] + 0.5 - crop.y) * unit,
      (landmarks[3 * index + 2] - depth) * unit,
    ]),
  );
}

/**
 * Motion whose first keypoints lie at these points.
 * @param {Float32Array} vector
 * @param {ArrayLike<number>} canonical (K, 3) to which its expression is relative
 * @param {Float32Array} points (J, 3) crop units
 * @returns {Float32Array<ArrayBuffer>}
 */
export function withFace(vector, canonical, points) {
  const rotation = rotationOf(vector);
  const found = Float32Array.from(vector);
  for (let i = 0; i < points.length; i++) {
    const axis = i % 3;
    found[EXPRESSION + i] = (points[i] - vector[4 + axis]) / vector[3] - turned(rotation, canonical, (i - axis) / 3, axis);
  }
  return found;
}

/**
 * Motion relative to keypoints `then`, the first `count` staying where `now` has them.
 * @param {Float32Array} vector
 * @param {ArrayLike<number>} now (K, 3)
 * @param {ArrayLike<number>} then (K, 3)
 * @param {number} count
 * @returns {Float32Array<ArrayBuffer>}
 */
export function withCanonical(vector, now, then, count) {
  const rotation = rotationOf(vector);
  const apart = Array.from({ length: 3 * count }, (_, i) => now[i] - then[i]);
  const found = Float32Array.from(vector);
  for (let i = 0; i < 3 * count; i++) found[EXPRESSION + i] += turned(rotation, apart, (i - (i % 3)) / 3, i % 3);
  return found;
}

/**
 * Mean distance in crop units between the first `count` projected keypoints of two motions of one person.
 * @param {ArrayLike<number>} canonical
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} count
 */
export function distance(canonical, a, b, count) {
  const [first, second] = [placed(canonical, a, count), placed(canonical, b, count)];
  let sum = 0;
  for (let i = 0; i < first.length; i += 2) sum += Math.hypot(first[i] - second[i], first[i + 1] - second[i + 1]);
  return sum / count;
}

/**
 * Where keypoints lie in the picture.
 * @param {ArrayLike<number>} canonical
 * @param {Float32Array} vector
 * @param {number} count
 * @returns {number[]} x and y of each keypoint
 */
export function placed(canonical, vector, count) {
  const rotation = rotationOf(vector);
  const found = [];
  for (let point = 0; point < count; point++) {
    for (let axis = 0; axis < 2; axis++) {
      found.push(vector[3] * (turned(rotation, canonical, point, axis) + vector[EXPRESSION + 3 * point + axis]) + vector[4 + axis]);
    }
  }
  return found;
}

/**
 * Keypoints without head pose: x_c + R^-1 delta.
 * @param {ArrayLike<number>} canonical
 * @param {Float32Array} vector
 * @param {number} count
 * @returns {number[]} (count, 3)
 */
export function faceFrame(canonical, vector, count) {
  const r = rotationOf(vector);
  const found = [];
  for (let i = 0; i < 3 * count; i += 3) {
    const [x, y, z] = [vector[EXPRESSION + i], vector[EXPRESSION + i + 1], vector[EXPRESSION + i + 2]];
    for (let axis = 0; axis < 3; axis++) found.push(canonical[i + axis] + r[axis] * x + r[3 + axis] * y + r[6 + axis] * z);
  }
  return found;
}
