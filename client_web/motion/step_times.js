// @ts-check
/** Median milliseconds of each step of the last frames. */

const FRAMES = 50;

export class StepTimes {
  constructor() {
    /** @type {Map<string, number[]>} */
    this.steps = new Map();
  }

  /** @param {{[name: string]: number}} milliseconds of one frame; a step that it did not take is not in it */
  add(milliseconds) {
    for (const [name, value] of Object.entries(milliseconds)) {
      const kept = this.steps.get(name) ?? [];
      kept.push(value);
      if (kept.length > FRAMES) kept.shift();
      this.steps.set(name, kept);
    }
  }

  /** @returns {{[name: string]: number}} */
  medians() {
    return Object.fromEntries(
      [...this.steps].map(([name, values]) => [name, [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]]),
    );
  }
}
