// @ts-check
/** Bytes that no encoder writes. */
export class BitstreamError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "BitstreamError";
  }
}
