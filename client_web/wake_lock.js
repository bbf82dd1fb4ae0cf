// @ts-check
/** Keeps a phone's screen on during a call, where the browser can. */

let wanted = false;
/** @type {WakeLockSentinel | null} */
let lock = null;

/** @param {boolean} awake */
export function keepAwake(awake) {
  wanted = awake;
  if (awake) void request();
  else {
    void lock?.release();
    lock = null;
  }
}

async function request() {
  if (!wanted || document.visibilityState !== "visible" || (lock !== null && !lock.released)) return;
  try {
    lock = (await navigator.wakeLock?.request("screen")) ?? null;
  } catch {
    lock = null; // refused, for example on a low battery: the call goes on without
  }
  if (!wanted) void lock?.release();
}

// The browser lets go whenever the page is hidden.
document.addEventListener("visibilitychange", () => void request());
