// @ts-check
/** The page's own line icons: paths on a 24-unit grid, drawn with the colour of the text around them. */
import { vector } from "./element.js";

const PATHS = {
  microphone: ["M12 3.5a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0v-5a3 3 0 0 0-3-3z", "M5.5 11.5a6.5 6.5 0 0 0 13 0", "M12 18v3"],
  microphoneOff: [
    "M9 9.5v2a3 3 0 0 0 4.6 2.5",
    "M15 11V6.5a3 3 0 0 0-5.7-1.3",
    "M5.5 11.5a6.5 6.5 0 0 0 10.3 5.3",
    "M18.5 11.5a6.4 6.4 0 0 1-.5 2.5",
    "M12 18v3",
    "M4 4l16 16",
  ],
  camera: ["M4 7h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H4a1.5 1.5 0 0 1-1.5-1.5v-7A1.5 1.5 0 0 1 4 7z", "M15 11l5-3v8l-5-3"],
  cameraOff: [
    "M6.5 7H4a1.5 1.5 0 0 0-1.5 1.5v7A1.5 1.5 0 0 0 4 17h9a2 2 0 0 0 1.6-.8",
    "M10.5 7H13a2 2 0 0 1 2 2v2l5-3v8l-1.5-.9",
    "M4 4l16 16",
  ],
  leave: ["M2 14.6c0-1.1.5-2.1 1.4-2.7a15 15 0 0 1 17.2 0c.9.6 1.4 1.6 1.4 2.7v1.2c0 .8-.7 1.4-1.5 1.2l-3-.6a1.2 1.2 0 0 1-1-1.2v-1.6a12 12 0 0 0-9 0v1.6c0 .6-.4 1.1-1 1.2l-3 .6c-.8.2-1.5-.4-1.5-1.2z"],
  share: ["M10 13.5a4 4 0 0 0 6 .4l2.6-2.6a4 4 0 0 0-5.7-5.7L11.6 7", "M14 10.5a4 4 0 0 0-6-.4l-2.6 2.6a4 4 0 0 0 5.7 5.7l1.3-1.4"],
  pictureInPicture: ["M4.5 5h15A1.5 1.5 0 0 1 21 6.5v11a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5v-11A1.5 1.5 0 0 1 4.5 5z", "M12.5 12h5v4h-5z"],
  numbers: ["M4 20V4", "M4 20h16", "M8 16v-4", "M12 16V8", "M16 16v-6"],
  settings: ["M4 8h9M17 8h3M4 16h3M11 16h9", "M15 6a2 2 0 1 0 0 4 2 2 0 0 0 0-4z", "M9 14a2 2 0 1 0 0 4 2 2 0 0 0 0-4z"],
  people: ["M9 11a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 9 11z", "M3 19.5c0-3.3 2.7-5.5 6-5.5s6 2.2 6 5.5", "M16 5a3 3 0 0 1 0 5.7", "M17.5 14.3c2.1.7 3.5 2.6 3.5 5.2"],
  close: ["M6 6l12 12M18 6L6 18"],
  screen: ["M4.5 5h15A1.5 1.5 0 0 1 21 6.5v9a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 15.5v-9A1.5 1.5 0 0 1 4.5 5z", "M9 20h6", "M12 14V8.5M9.5 10.8L12 8.3l2.5 2.5"],
  record: ["M12 4.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15z", "M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z"],
  signalLost: ["M3 9a13 13 0 0 1 6-3.1", "M13.5 5.7A13 13 0 0 1 21 9", "M6 12.5a9 9 0 0 1 5-2.4", "M15.5 11a9 9 0 0 1 2.5 1.5", "M9 16a4.5 4.5 0 0 1 6 0", "M12 19.5h.01", "M4 3l16 17"],
  waiting: ["M12 4a8 8 0 1 0 8 8", "M12 8v4l2.5 2.5"],
  faceFront: ["M12 4c3.5 0 6 2.7 6 6.5S15.5 20 12 20s-6-5.7-6-9.5S8.5 4 12 4z", "M9.5 10.5h.01M14.5 10.5h.01", "M10 14.5c1.2.9 2.8.9 4 0"],
  warning: ["M12 4.5l8.5 15h-17z", "M12 10v4.5", "M12 17h.01"],
  check: ["M5 12.5l4.5 4.5L19 7.5"],
  mask: ["M4 6.5c5-2 11-2 16 0 0 6-2 11-8 12.5C6 17.5 4 12.5 4 6.5z", "M7.5 10.5c1-.8 2.2-.8 3 0M13.5 10.5c.8-.8 2-.8 3 0", "M9.5 14.5c1.5 1 3.5 1 5 0"],
  sound: ["M4 9.5h3.5L12 5.5v13l-4.5-4H4z", "M15 9a4 4 0 0 1 0 6", "M17.5 6.5a7.5 7.5 0 0 1 0 11"],
};

/** @typedef {keyof typeof PATHS} IconName */

/**
 * An icon, hidden from assistive technology: the control around it carries the name.
 * @param {IconName} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const drawn = vector("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" });
  for (const path of PATHS[name]) drawn.append(vector("path", { d: path }));
  return drawn;
}

/**
 * The mark of visavis: two faces opposite each other, and motion between them.
 * @returns {SVGElement}
 */
export function mark() {
  return vector(
    "svg",
    { viewBox: "0 0 32 32", class: "mark", "aria-hidden": "true", focusable: "false" },
    vector("path", { class: "mark-here", d: "M1.5 6a10 10 0 0 1 0 20z" }),
    vector("path", { class: "mark-there", d: "M30.5 6a10 10 0 0 0 0 20z" }),
    vector("circle", { class: "mark-here", cx: 16, cy: 9, r: 2 }),
    vector("circle", { class: "mark-between", cx: 16, cy: 16, r: 2 }),
    vector("circle", { class: "mark-there", cx: 16, cy: 23, r: 2 }),
  );
}
