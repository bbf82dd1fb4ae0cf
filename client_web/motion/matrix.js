// @ts-check
/** Matrices, row by row in a Float64Array; but for `inverseOfAny` and `times` symmetric positive definite ones. Pure. */

/**
 * L with L L^T = A in A's lower triangle, in place. False, and A spoilt, when A is not positive definite.
 * @param {Float64Array} matrix (size, size)
 * @param {number} size
 */
export function factorise(matrix, size) {
  for (let i = 0; i < size; i++) {
    const row = i * size;
    for (let j = 0; j <= i; j++) {
      const other = j * size;
      let sum = matrix[row + j];
      for (let k = 0; k < j; k++) sum -= matrix[row + k] * matrix[other + k];
      if (j < i) matrix[row + j] = sum / matrix[other + j];
      else if (sum > 0) matrix[row + i] = Math.sqrt(sum);
      else return false;
    }
  }
  return true;
}

/**
 * x with L L^T x = b, in place of b.
 * @param {Float64Array} factor as `factorise` leaves it
 * @param {Float64Array} right
 */
export function solve(factor, right) {
  const size = right.length;
  for (let i = 0; i < size; i++) {
    let sum = right[i];
    for (let k = 0; k < i; k++) sum -= factor[i * size + k] * right[k];
    right[i] = sum / factor[i * size + i];
  }
  for (let i = size - 1; i >= 0; i--) {
    const value = (right[i] /= factor[i * size + i]);
    for (let k = 0; k < i; k++) right[k] -= factor[i * size + k] * value;
  }
}

/**
 * Throws RangeError when the matrix is not positive definite.
 * @param {Float64Array} matrix (size, size); spoilt
 * @param {number} size
 * @returns {Float64Array}
 */
export function inverse(matrix, size) {
  if (!factorise(matrix, size)) throw new RangeError("not positive definite");
  const found = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const column = found.subarray(i * size, (i + 1) * size); // of a symmetric matrix: a row as well
    column[i] = 1;
    solve(matrix, column);
  }
  return found;
}

/**
 * Of a matrix that need not be positive definite, by Gauss's and Jordan's elimination, the largest number of each column first. Throws
 * RangeError when there is none.
 * @param {Float64Array} matrix (size, size)
 * @param {number} size
 * @returns {Float64Array}
 */
export function inverseOfAny(matrix, size) {
  const beside = Array.from({ length: size }, (_, i) => Float64Array.from({ length: size }, (_one, k) => Number(i === k)));
  const rows = beside.map((row, i) => Float64Array.of(...matrix.subarray(i * size, (i + 1) * size), ...row));
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let i = column + 1; i < size; i++) if (Math.abs(rows[i][column]) > Math.abs(rows[pivot][column])) pivot = i;
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    const by = rows[column][column];
    if (by === 0) throw new RangeError("no inverse");
    const own = rows[column].map((value) => value / by);
    for (let i = 0; i < size; i++) {
      const factor = rows[i][column];
      rows[i] = i === column ? own : rows[i].map((value, k) => value - factor * own[k]);
    }
  }
  return Float64Array.of(...rows.flatMap((row) => [...row.subarray(size)]));
}

/**
 * A x.
 * @param {Float64Array} matrix
 * @param {ArrayLike<number>} vector
 */
export function times(matrix, vector) {
  const size = vector.length;
  return Float64Array.from(vector, (_, i) => {
    let sum = 0;
    for (let k = 0; k < size; k++) sum += matrix[i * size + k] * vector[k];
    return sum;
  });
}
