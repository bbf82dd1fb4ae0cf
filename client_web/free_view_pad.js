// @ts-check
/**
 * The free-view pad: turn a remote face by dragging or with the arrow keys; double-click or Home faces it front.
 * Angles follow model/motion.py: degrees, yaw > 0 turns the face to the right of the picture, pitch > 0 turns it up.
 */
import { element, setAttribute, setText } from "./element.js";
import { icon } from "./icons.js";

/** @typedef {{yaw: number, pitch: number}} View degrees */

/** Where the pad stops; the server takes yaw up to 45, but one picture does not show a face from so far aside. */
export const LIMIT = { yaw: 35, pitch: 30 };

/** Degrees of yaw from which the pad resists, and what is left of a drag there. */
const EASY = 25;
const RESISTED = 0.4;

/** Degrees over the width of the picture, as far as nothing resists. */
const RANGE = { yaw: 90, pitch: 60 };

/** @type {View} */
export const FRONT = { yaw: 0, pitch: 0 };

const STEP = 3;
const LARGE_STEP = 10;
/** A head turns through the whole range of a pad in about this many messages a second; the server renders 25. */
export const VIEW_EVERY_MS = 50;

/**
 * @param {View} view
 * @returns {View} within the limits, in tenths of a degree
 */
export function clampView({ yaw, pitch }) {
  return { yaw: clamp(yaw, LIMIT.yaw), pitch: clamp(pitch, LIMIT.pitch) };
}

/**
 * @param {number} value
 * @param {number} limit
 */
function clamp(value, limit) {
  // `+ 0` turns a negative zero into zero
  return Math.round(Math.min(limit, Math.max(-limit, value)) * 10) / 10 + 0;
}

/**
 * The view after a drag.
 * @param {View} start view when the pointer went down
 * @param {number} dx px to the right
 * @param {number} dy px down
 * @param {number} span px of the surface
 * @returns {View}
 */
export function dragView(start, dx, dy, span) {
  const size = Math.max(1, span);
  const yaw = resisted(pulled(start.yaw) + (RANGE.yaw * dx) / size);
  return clampView({ yaw, pitch: start.pitch - (RANGE.pitch * dy) / size });
}

/**
 * @param {number} pull degrees of yaw that a pointer asks for
 * @returns {number} degrees that it gets
 */
function resisted(pull) {
  const beyond = Math.max(0, Math.abs(pull) - EASY);
  return Math.sign(pull) * (Math.abs(pull) - (1 - RESISTED) * beyond);
}

/**
 * @param {number} yaw
 * @returns {number} the pull that leads to it
 */
function pulled(yaw) {
  const beyond = Math.max(0, Math.abs(yaw) - EASY);
  return Math.sign(yaw) * (Math.abs(yaw) + (1 / RESISTED - 1) * beyond);
}

/**
 * The view after a key.
 * @param {View} view
 * @param {string} key as in KeyboardEvent.key
 * @param {boolean} large with Shift
 * @returns {View | null} null when the key means nothing here
 */
export function keyView(view, key, large) {
  const step = large ? LARGE_STEP : STEP;
  switch (key) {
    case "ArrowLeft":
      return clampView({ ...view, yaw: view.yaw - step });
    case "ArrowRight":
      return clampView({ ...view, yaw: view.yaw + step });
    case "ArrowUp":
      return clampView({ ...view, pitch: view.pitch + step });
    case "ArrowDown":
      return clampView({ ...view, pitch: view.pitch - step });
    case "Home":
      return FRONT;
    default:
      return null;
  }
}

/**
 * @param {View} view
 * @returns {string} in words, as a screen reader says it
 */
export function describeView({ yaw, pitch }) {
  const parts = [];
  if (Math.abs(yaw) >= 0.5) parts.push(`${Math.abs(Math.round(yaw))}° ${yaw > 0 ? "right" : "left"}`);
  if (Math.abs(pitch) >= 0.5) parts.push(`${Math.abs(Math.round(pitch))}° ${pitch > 0 ? "up" : "down"}`);
  return parts.length ? parts.join(", ") : "facing front";
}

/** Lets at most one view through per interval, and never loses the last one. Takes the time. */
export class ViewThrottle {
  /** @param {number} intervalMs */
  constructor(intervalMs = VIEW_EVERY_MS) {
    this.intervalMs = intervalMs;
    this.last = -Infinity;
    /** @type {View | null} */
    this.waiting = null;
  }

  /**
   * @param {View} view
   * @param {number} now ms
   * @returns {{send: View | null, wakeIn: number | null}} what to send now, or in how many ms to call `wake`
   */
  offer(view, now) {
    if (now - this.last >= this.intervalMs) {
      this.last = now;
      this.waiting = null;
      return { send: view, wakeIn: null };
    }
    const first = this.waiting === null;
    this.waiting = view;
    return { send: null, wakeIn: first ? this.last + this.intervalMs - now : null };
  }

  /**
   * @param {number} now ms
   * @returns {View | null} the view that waited
   */
  wake(now) {
    const view = this.waiting;
    this.waiting = null;
    if (view !== null) this.last = now;
    return view;
  }
}

/**
 * The pad of one tile. Dragging works on the whole picture; the small round pad shows where the head points and takes keys.
 * @param {HTMLElement} surface what is dragged on
 * @param {(view: View) => void} onView called at most every VIEW_EVERY_MS
 */
export function createFreeViewPad(surface, onView) {
  /** @type {View} */
  let view = FRONT;
  /** @type {{pointer: number, x: number, y: number, view: View} | null} */
  let drag = null;
  const throttle = new ViewThrottle();

  const knob = element("span", { class: "pad-knob" });
  const dial = element(
    "div",
    {
      class: "pad-dial",
      role: "slider",
      tabindex: 0,
      "aria-roledescription": "free-view pad",
      "aria-valuemin": -LIMIT.yaw,
      "aria-valuemax": LIMIT.yaw,
      "aria-keyshortcuts": "ArrowLeft ArrowRight ArrowUp ArrowDown Home",
    },
    knob,
  );
  const front = element("button", { class: "pad-front", type: "button", on: { click: () => turn(FRONT) } }, icon("faceFront"), "Face front");
  const reading = element("span", { class: "pad-reading", "aria-hidden": "true" });
  const pad = element("div", { class: "pad" }, reading, front, dial);

  /** @param {View} next */
  function turn(next) {
    view = clampView(next);
    draw();
    const { send, wakeIn } = throttle.offer(view, performance.now());
    if (send) onView(send);
    if (wakeIn !== null) {
      setTimeout(() => {
        const waiting = throttle.wake(performance.now());
        if (waiting) onView(waiting);
      }, wakeIn);
    }
  }

  function draw() {
    const turned = view.yaw !== 0 || view.pitch !== 0;
    dial.style.setProperty("--yaw", String(view.yaw / LIMIT.yaw));
    dial.style.setProperty("--pitch", String(view.pitch / LIMIT.pitch));
    setAttribute(dial, "aria-valuenow", Math.round(view.yaw));
    setAttribute(dial, "aria-valuetext", describeView(view));
    setText(reading, turned ? describeView(view) : "");
    pad.classList.toggle("is-turned", turned);
    front.hidden = !turned;
  }

  /** @param {PointerEvent} event */
  function down(event) {
    if (event.button !== 0 || (event.target instanceof Element && event.target.closest("button"))) return;
    drag = { pointer: event.pointerId, x: event.clientX, y: event.clientY, view };
    surface.setPointerCapture(event.pointerId);
    surface.classList.add("is-turning");
  }

  /** @param {PointerEvent} event */
  function move(event) {
    if (drag?.pointer !== event.pointerId) return;
    const span = Math.min(surface.clientWidth, surface.clientHeight);
    turn(dragView(drag.view, event.clientX - drag.x, event.clientY - drag.y, span));
  }

  /** @param {PointerEvent} event */
  function up(event) {
    if (drag?.pointer !== event.pointerId) return;
    drag = null;
    surface.classList.remove("is-turning");
  }

  surface.classList.add("turns");
  surface.addEventListener("pointerdown", down);
  surface.addEventListener("pointermove", move);
  surface.addEventListener("pointerup", up);
  surface.addEventListener("pointercancel", up);
  surface.addEventListener("dblclick", (event) => {
    if (!(event.target instanceof Element && event.target.closest("button"))) turn(FRONT);
  });
  dial.addEventListener("keydown", (event) => {
    const next = keyView(view, event.key, event.shiftKey);
    if (next === null || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    turn(next);
  });
  draw();

  return {
    element: pad,
    /** @returns {View} */
    get view() {
      return view;
    },
    /** Sends the present view again, after the picture was subscribed to anew. */
    repeat() {
      if (view.yaw !== 0 || view.pitch !== 0) onView(view);
    },
    /** @param {string} name whose head it turns */
    label(name) {
      setAttribute(dial, "aria-label", `Turn the head of ${name}`);
      setAttribute(front, "aria-label", `Face front: ${name}`);
    },
  };
}
