// @ts-check
/** One participant's tile: picture and sound, name, marks and, for a neural face, the free-view pad. */
import { CaptureToScreenMeter } from "./capture_to_screen.js";
import { element, setAttribute, setText } from "./element.js";
import { createFreeViewPad } from "./free_view_pad.js";
import { icon } from "./icons.js";
import { DisplayDelay, shortNumber } from "./media_statistics.js";
import { initials, signalLost } from "./state.js";

/**
 * @typedef {import("./state.js").Participant} Participant
 * @typedef {import("./free_view_pad.js").View} View
 *
 * @typedef {object} TileProperties
 * @property {Participant} participant
 * @property {boolean} speaking
 * @property {any} statistics the server's, of this participant
 * @property {boolean} [small] whether there is little room for words
 */

/** Hues of tiles without a picture, all of one lightness; picked by the participant's id. */
const HUES = [172, 24, 212, 262, 96, 340];

/**
 * @param {{own: boolean, onView?: (view: View) => void, onBlocked?: () => void}} options onBlocked: the browser blocks sound
 */
export function createTile({ own, onView, onBlocked }) {
  const video = element("video", { class: "tile-video", playsinline: true, autoplay: true, tabindex: -1, "aria-hidden": "true" });
  video.muted = own;
  video.disablePictureInPicture = own;
  const letters = element("span", { class: "tile-letters", "aria-hidden": "true" });
  const stateText = element("span");
  const stateIcon = element("span", { class: "tile-state-icon" });
  const state = element("p", { class: "tile-state" }, stateIcon, stateText);
  const avatar = element("span", { class: "chip chip-avatar", title: "This face is not the sender's own" }, icon("mask"), "avatar");
  const rate = element("span", { class: "chip chip-rate", title: "Motion payload of this face" });
  const marks = element("div", { class: "tile-marks" }, avatar, rate);
  const mutedIcon = element("span", { class: "tile-muted", role: "img", "aria-label": "muted" }, icon("microphoneOff"));
  const name = element("span", { class: "tile-name-text" });
  const plate = element("div", { class: "tile-name" }, mutedIcon, name);
  const tile = element("article", { class: own ? "tile is-own" : "tile" }, video, letters, state, marks, plate);

  const display = new DisplayDelay();
  const toScreen = new CaptureToScreenMeter();
  let hasPicture = false;
  /** @type {TileProperties | null} */
  let drawn = null;
  /** @type {ReturnType<typeof createFreeViewPad> | null} */
  let pad = null;

  if (!("requestVideoFrameCallback" in video)) {
    toScreen.possible = "no";
  } else {
    /** @type {VideoFrameRequestCallback} */
    const onFrame = (_now, metadata) => {
      display.add(metadata);
      toScreen.onShown(metadata);
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
  }
  video.addEventListener("resize", () => {
    hasPicture = video.videoWidth > 2;
    if (drawn) update(drawn);
  });

  /** @param {TileProperties} properties */
  function update(properties) {
    drawn = properties;
    const { participant, speaking, statistics } = properties;
    const neural = participant.kind === "motion" && !own;
    const pictured = hasPicture && !participant.camera_off && participant.kind !== "none";
    const shown = stateOf(participant, pictured, own);
    tile.classList.toggle("is-speaking", speaking && !participant.muted);
    tile.classList.toggle("has-picture", pictured);
    tile.classList.toggle("is-lost", signalLost(participant));
    setAttribute(tile, "aria-label", describe(participant, own, shown?.text, speaking));
    setAttribute(tile, "data-participant", participant.id);
    tile.style.setProperty("--hue", String(HUES[hash(participant.id) % HUES.length]));
    setText(letters, initials(participant.name));
    tile.classList.toggle("is-screen", participant.kind === "screen");
    setText(name, own ? (properties.small ? "You" : `${participant.name} (you)`) : titleOf(participant));
    mutedIcon.hidden = !participant.muted;
    avatar.hidden = !participant.avatar;
    const kbps = neural && participant.state === "live" ? statistics?.kbps_payload : undefined;
    rate.hidden = typeof kbps !== "number" || !(kbps > 0);
    if (typeof kbps === "number") setText(rate, `${shortNumber(kbps)} kbit/s`);
    state.hidden = shown === null;
    if (shown !== null && stateText.textContent !== shown.text) {
      stateText.textContent = shown.text;
      stateIcon.replaceChildren(icon(shown.icon));
    }
    if (neural && pad === null && onView) {
      pad = createFreeViewPad(tile, onView);
      tile.append(pad.element);
    }
    if (pad !== null) {
      pad.label(participant.name);
      pad.element.hidden = !neural || !pictured;
    }
  }

  return {
    element: tile,
    video,
    display,
    toScreen,
    update,
    get pad() {
      return pad;
    },
    /** @param {MediaStream | null} stream */
    show(stream) {
      if (video.srcObject === stream) return;
      toScreen.reset();
      video.srcObject = stream;
      if (stream === null) {
        hasPicture = false;
        if (drawn) update(drawn);
        return;
      }
      video.play().catch((error) => {
        if (error.name === "NotAllowedError") onBlocked?.();
      });
    },
  };
}

/**
 * @param {Participant} participant
 * @param {boolean} pictured
 * @param {boolean} own
 * @returns {{text: string, icon: import("./icons.js").IconName} | null} what stands over the picture
 */
function stateOf(participant, pictured, own) {
  if (signalLost(participant)) return { text: "Signal lost", icon: "signalLost" };
  if (participant.camera_off) return { text: "Camera off", icon: "cameraOff" };
  if (pictured || own) return null;
  return participant.kind === "none" ? { text: "Watching only", icon: "people" } : { text: "Waiting for the picture", icon: "waiting" };
}

/**
 * @param {Participant} participant
 * @param {boolean} own
 * @param {string | undefined} state
 * @param {boolean} speaking
 */
function describe(participant, own, state, speaking) {
  const parts = [own ? `${participant.name}, you` : titleOf(participant)];
  if (participant.avatar) parts.push("shown as an avatar");
  if (participant.muted) parts.push("muted");
  else if (speaking) parts.push("speaking");
  if (state) parts.push(state.toLowerCase());
  return parts.join(", ");
}

/** @param {Participant} participant */
function titleOf(participant) {
  return participant.kind === "screen" ? `Screen of ${participant.name}` : participant.name;
}

/** @param {string} text */
function hash(text) {
  let value = 0;
  for (const letter of text) value = (value * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return value;
}
