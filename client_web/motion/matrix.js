// @ts-check
/** Symmetric positive definite matrices, row by row in a Float64Array. Pure. */

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
