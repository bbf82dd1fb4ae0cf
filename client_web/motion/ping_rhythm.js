// @ts-check
/** When the sender's side of the control channel pings, as `server/wire/ping_rhythm.py`: often at first and in silence, else seldom. */

/** The first ticks have a ping each, so that the clocks are soon related. */
const EAGER = 5;
/** Ticks for one ping while the receiver is heard. */
const STEADY_EVERY = 10;
/** Milliseconds of silence after which each tick has a ping again. */
const QUIET_AFTER_MS = 1500;

export class PingRhythm {
  constructor() {
    this.ticks = 0;
  }

  /**
   * To be asked once each tick, a second.
   * @param {number} silenceMs since the receiver was heard
   */
  due(silenceMs) {
    this.ticks += 1;
    return this.ticks <= EAGER || this.ticks % STEADY_EVERY === 0 || silenceMs >= QUIET_AFTER_MS;
  }
}
