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
 * Landmarks that expression leaves in place, crop units; z from their middle, as depth of landmarks has no origin.
 * @param {Float32Array} landmarks (478, 3) pixels of the frame
 * @param {import("./crop.js").Crop} crop
 * @param {{still: number[]}} named which landmarks
 * @returns {Float32Array} (N, 3)
 */
export function stillPoints(landmarks, crop, { still }) {
  return facePoints(landmarks, crop, { guided: still, still });
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
 * @param {number} [axes] 2 or, with their depth, 3
 * @returns {number[]} x and y of each keypoint
 */
export function placed(canonical, vector, count, axes = 2) {
  const rotation = rotationOf(vector);
  const found = [];
  for (let point = 0; point < count; point++) {
    for (let axis = 0; axis < axes; axis++) {
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

/**
 * Motion whose head moves on as its landmarks do (`model/networks/small/guided.py`); the body stays where it is.
 * @param {Float32Array} vector of the frame that `before` is of
 * @param {ArrayLike<number>} canonical (K, 3)
 * @param {ArrayLike<number>} before (N, 3) landmarks that expression leaves in place, crop units
 * @param {ArrayLike<number>} after the same now
 * @param {number} heads keypoints that follow the head
 * @returns {Float32Array<ArrayBuffer>}
 */
export function following(vector, canonical, before, after, heads) {
  const { turn, size, shift } = rigid(before, after);
  const was = rotationOf(vector);
  const now = product(turn, was);
  const expression = vector.subarray(EXPRESSION);
  const found = Float32Array.from(vector);
  found[0] = (Math.asin(Math.min(Math.max(now[6], -1), 1)) * 180) / Math.PI;
  found[1] = (Math.atan2(-now[7], now[8]) * 180) / Math.PI;
  found[2] = (Math.atan2(now[3], now[0]) * 180) / Math.PI;
  found[3] = size * vector[3];
  for (const axis of [0, 1, 2]) found[4 + axis] = size * turned(turn, vector.subarray(4, 7), 0, axis) + shift[axis];
  for (let point = 0; 3 * point < canonical.length; point++) {
    for (const axis of [0, 1, 2]) {
      const i = EXPRESSION + 3 * point + axis;
      if (point < heads) found[i] = turned(turn, expression, point, axis);
      else {
        const still = vector[3] * (turned(was, canonical, point, axis) + vector[i]) + vector[4 + axis];
        found[i] = (still - found[4 + axis]) / found[3] - turned(now, canonical, point, axis);
      }
    }
  }
  return found;
}

/**
 * @param {number[]} a (3, 3)
 * @param {number[]} b (3, 3)
 */
function product(a, b) {
  return a.map((_, i) => [0, 1, 2].reduce((sum, k) => sum + a[i - (i % 3) + k] * b[3 * k + (i % 3)], 0));
}

/**
 * Rotation, scale and shift that take points onto others, least squares: the rotation by Horn's quaternion (1987).
 * @param {ArrayLike<number>} points (N, 3)
 * @param {ArrayLike<number>} onto (N, 3)
 */
function rigid(points, onto) {
  const [p, q] = [centred(points), centred(onto)];
  const s = new Array(9).fill(0); // sums of p_i q_k
  let spread = 0;
  for (let n = 0; n < p.values.length; n += 3) {
    for (let i = 0; i < 3; i++) {
      spread += p.values[n + i] ** 2;
      for (let k = 0; k < 3; k++) s[3 * i + k] += p.values[n + i] * q.values[n + k];
    }
  }
  const [xx, xy, xz, yx, yy, yz, zx, zy, zz] = s;
  const [w, x, y, z] = leadingVector([
    [xx + yy + zz, yz - zy, zx - xz, xy - yx],
    [yz - zy, xx - yy - zz, xy + yx, zx + xz],
    [zx - xz, xy + yx, yy - xx - zz, yz + zy],
    [xy - yx, zx + xz, yz + zy, zz - xx - yy],
  ]);
  const turn = [
    ...[w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
    ...[2 * (y * x + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
    ...[2 * (z * x - w * y), 2 * (z * y + w * x), w * w - x * x - y * y + z * z],
  ];
  // Trace of R S: how far the turned points reach along the others.
  const reach = [0, 1, 2].reduce((sum, i) => sum + [0, 1, 2].reduce((row, k) => row + turn[3 * i + k] * s[3 * k + i], 0), 0);
  const size = reach / Math.max(spread, 1e-9);
  const shift = [0, 1, 2].map((axis) => q.mean[axis] - size * turned(turn, p.mean, 0, axis));
  return { turn, size, shift };
}

/** @param {ArrayLike<number>} points (N, 3) */
function centred(points) {
  const mean = [0, 0, 0];
  for (let i = 0; i < points.length; i++) mean[i % 3] += (3 * points[i]) / points.length;
  return { mean, values: Float64Array.from(points, (value, i) => value - mean[i % 3]) };
}

/**
 * The unit eigenvector of the largest eigenvalue of a symmetric matrix (4, 4), by Jacobi's rotations.
 * @param {number[][]} matrix spoilt
 */
function leadingVector(matrix) {
  const vectors = [0, 1, 2, 3].map((i) => [0, 1, 2, 3].map((k) => Number(i === k)));
  for (let sweep = 0; sweep < 12; sweep++) {
    for (let i = 0; i < 3; i++) {
      for (let k = i + 1; k < 4; k++) {
        if (matrix[i][k] === 0) continue;
        const angle = 0.5 * Math.atan2(2 * matrix[i][k], matrix[k][k] - matrix[i][i]);
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        for (const rows of [matrix, vectors]) {
          for (const row of rows) [row[i], row[k]] = [c * row[i] - s * row[k], s * row[i] + c * row[k]];
        }
        for (let n = 0; n < 4; n++) [matrix[i][n], matrix[k][n]] = [c * matrix[i][n] - s * matrix[k][n], s * matrix[i][n] + c * matrix[k][n]];
      }
    }
  }
  const values = matrix.map((row, i) => row[i]);
  const largest = values.indexOf(Math.max(...values));
  return vectors.map((row) => row[largest]);
}
