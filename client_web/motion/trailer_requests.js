// @ts-check
/**
 * What each packet of the voice takes along, asked of the page as the packet leaves. A page that is busy does not hold the voice up:
 * the packet goes without, and what comes late goes behind the next one. Pure: the wait is given.
 */

const NOTHING = new Uint8Array();

export class TrailerRequests {
  /**
   * @param {() => void} ask the page; `answer` is to be called
   * @param {() => Promise<unknown>} patience settles once a packet has waited long enough
   */
  constructor(ask, patience) {
    this.ask = ask;
    this.patience = patience;
    /** Whether the page owes an answer. */
    this.asked = false;
    /** @type {Uint8Array | null} */
    this.late = null;
    /** @type {((trailer: Uint8Array) => void) | null} */
    this.resolve = null;
  }

  /** @returns {Promise<Uint8Array>} for the packet that leaves now; empty for none */
  async take() {
    const late = this.late;
    this.late = null;
    if (late !== null) return late;
    if (this.asked) return NOTHING;
    this.asked = true;
    /** @type {Promise<Uint8Array>} */
    const answered = new Promise((resolve) => (this.resolve = resolve));
    this.ask();
    const trailer = await Promise.race([answered, this.patience().then(() => NOTHING)]);
    this.resolve = null;
    return trailer;
  }

  /** @param {Uint8Array} trailer */
  answer(trailer) {
    this.asked = false;
    if (this.resolve !== null) this.resolve(trailer);
    else if (trailer.length > 0) this.late = trailer;
  }
}
