// @ts-check
/** Keeps a phone's screen on during a call, where the browser can. */

let wanted = false;
/** @type {WakeLockSentinel | null} */
let held = null;

/** @param {boolean} awake */
export function keepAwake(awake) {
  wanted = awake;
  if (awake) void hold();
  else {
    void held?.release();
    held = null;
  }
}

async function hold() {
  if (!wanted || document.visibilityState !== "visible" || (held !== null && !held.released)) return;
  try {
    held = (await navigator.wakeLock?.request("screen")) ?? null;
  } catch {
    held = null; // refused, for example on a low battery: the call goes on without
  }
  if (!wanted) void held?.release();
}

// The browser lets go whenever the page is hidden.
document.addEventListener("visibilitychange", () => void hold());
