// @ts-check
/** What a browser remembers of a person from one visit to the next. Storage may be forbidden: then it forgets. */

const PREFIX = "visavis.";

/**
 * @param {string} key
 * @returns {string | null}
 */
export function remembered(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
export function remember(key, value) {
  try {
    localStorage.setItem(PREFIX + key, value);
  } catch {
    // asked for again next time
  }
}
