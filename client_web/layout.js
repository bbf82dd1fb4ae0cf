// @ts-check
/** How large tiles are and how many stand in a row. Pure. */

/**
 * @typedef {object} Arrangement
 * @property {number} columns
 * @property {number} rows
 * @property {number} width of a tile, px
 * @property {number} height of a tile, px
 */

/**
 * Divides the stage between a shared screen and everybody: beside each other where it is wide, else one above the other.
 * @param {number} width of the stage, px
 * @param {number} height px
 * @param {number} gap px
 * @returns {{beside: boolean, screen: {width: number, height: number}, rest: {width: number, height: number}}}
 */
export function divide(width, height, gap) {
  const beside = width > height;
  if (beside) {
    const rest = Math.floor(Math.min(320, Math.max(120, width * 0.22)));
    return { beside, screen: { width: width - rest - gap, height }, rest: { width: rest, height } };
  }
  const rest = Math.floor(Math.max(110, height * 0.3));
  return { beside, screen: { width, height: height - rest - gap }, rest: { width, height: rest } };
}

/**
 * Picks the number of columns that makes the tiles largest. A tile's shape may vary between two aspect ratios, so that a
 * row fills the stage without stripes. Below `smallest` pixels of width the rows run on and the stage scrolls.
 * @param {number} count tiles, at least 1
 * @param {number} width of the stage, px
 * @param {number} height of the stage, px
 * @param {{gap?: number, narrow?: number, wide?: number, smallest?: number}} [shape] gap px; aspect ratios width / height
 * @returns {Arrangement}
 */
export function arrange(count, width, height, { gap = 12, narrow = 1, wide = 4 / 3, smallest = 150 } = {}) {
  /** @type {Arrangement | null} */
  let best = null;
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(Math.max(1, count) / columns);
    const room = { width: (width - gap * (columns - 1)) / columns, height: (height - gap * (rows - 1)) / rows };
    if (room.width <= 0 || room.height <= 0) continue;
    const aspect = Math.min(wide, Math.max(narrow, room.width / room.height));
    const tile = Math.min(room.width, room.height * aspect);
    const candidate = { columns, rows, width: Math.floor(tile), height: Math.floor(tile / aspect) };
    if (best === null || candidate.width * candidate.height > best.width * best.height) best = candidate;
  }
  const fits = best ?? { columns: 1, rows: Math.max(1, count), width: 1, height: 1 };
  if (fits.width >= Math.min(smallest, width)) return fits;
  const columns = Math.max(1, Math.floor((width + gap) / (smallest + gap)));
  const tile = Math.floor((width - gap * (columns - 1)) / columns);
  return { columns, rows: Math.ceil(count / columns), width: tile, height: Math.floor(tile / narrow) };
}
