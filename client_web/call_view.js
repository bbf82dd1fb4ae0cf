// @ts-check
/** The call's page: header, stage, numbers panel and the bar of controls. */
import { createDevicePickers } from "./device_pickers.js";
import { element, setAttribute, setText } from "./element.js";
import { createGrid } from "./grid.js";
import { icon, mark } from "./icons.js";
import { createNumbersPanel } from "./numbers_panel.js";

/**
 * @typedef {import("./state.js").State} State
 * @typedef {import("./icons.js").IconName} IconName
 *
 * @typedef {object} CallActions
 * @property {() => void} toggleCamera
 * @property {() => void} toggleMicrophone
 * @property {() => void} toggleNumbers
 * @property {() => void} share
 * @property {() => void} pictureInPicture
 * @property {() => void} leave
 * @property {(device: "camera" | "microphone" | "speaker", id: string) => void} choose
 * @property {(participant: string, view: {yaw: number, pitch: number}) => void} onView
 */

/**
 * @param {import("./devices.js").OwnDevices} devices
 * @param {CallActions} actions
 */
export function createCallView(devices, actions) {
  const room = element("span", { class: "call-room" });
  const people = element("span", { class: "call-people" });
  const banner = element("p", { class: "banner" });
  banner.hidden = true;

  const shareAgain = element("button", { type: "button", class: "primary", on: { click: actions.share } }, icon("share"), element("span", {}, "Copy the link"));
  const invitation = element(
    "div",
    { class: "invitation" },
    element("h2", {}, "Nobody else is here yet"),
    element("p", {}, "Send the link, or start a sender in this room. They appear by themselves."),
    shareAgain,
  );
  const grid = createGrid({ invitation, onView: actions.onView, onBlocked: () => (sound.hidden = false) });
  const sound = element(
    "button",
    {
      type: "button",
      class: "primary sound",
      on: {
        click: () => {
          sound.hidden = true;
          grid.unblock();
        },
      },
    },
    icon("sound"),
    element("span", {}, "Turn the sound on"),
  );
  sound.hidden = true;
  const numbers = createNumbersPanel(actions.toggleNumbers);

  const pickers = createDevicePickers(devices, actions.choose);
  const closeDialog = element("button", { type: "button", class: "primary", on: { click: () => dialog.close() } }, "Done");
  const dialog = element("dialog", { class: "dialog", "aria-labelledby": "dialog-title" }, element("h2", { id: "dialog-title" }, "Devices"), pickers.element, closeDialog);

  function openDialog() {
    pickers.update();
    dialog.showModal();
  }

  const controls = {
    microphone: control("microphone", "Mute", actions.toggleMicrophone, "m"),
    camera: control("camera", "Camera", actions.toggleCamera, "v"),
    numbers: control("numbers", "Numbers", actions.toggleNumbers, "n"),
    pictureInPicture: control("pictureInPicture", "Pop out", actions.pictureInPicture, "p"),
    share: control("share", "Share", actions.share),
    devices: control("devices", "Devices", openDialog),
    leave: control("leave", "Leave", actions.leave),
  };
  setAttribute(controls.pictureInPicture.button, "aria-label", "Picture in picture");
  setAttribute(controls.share.button, "aria-label", "Copy the link to this room");
  setAttribute(controls.numbers.button, "aria-controls", "numbers");
  controls.pictureInPicture.button.hidden = !document.pictureInPictureEnabled;
  controls.leave.button.classList.add("is-leave");
  const toolbar = element("div", { class: "controls", role: "group", "aria-label": "Call controls" }, ...Object.values(controls).map(({ button }) => button));
  const heading = element("h1", { class: "visually-hidden", tabindex: -1 }, "Call");

  const view = element(
    "main",
    { class: "call" },
    heading,
    element("header", { class: "call-header" }, element("span", { class: "brand" }, mark(), element("span", { class: "brand-word" }, "visavis")), element("div", { class: "call-where" }, room, people)),
    banner,
    element("div", { class: "call-body" }, grid.element, numbers.element),
    element("footer", { class: "call-footer" }, toolbar),
    sound,
    dialog,
  );

  return {
    element: view,
    grid,
    numbers,
    /** Puts the focus where a person goes on. */
    begin: () => heading.focus(),
    focusNumbersControl: () => controls.numbers.button.focus(),
    /** @param {State} state */
    update(state) {
      setText(room, state.room);
      setText(people, `${state.roster.length} ${state.roster.length === 1 ? "person" : "people"}`);
      banner.hidden = state.phase !== "reconnecting";
      setText(banner, state.phase === "reconnecting" ? "Connection lost. Reconnecting…" : "");
      press(controls.microphone, !state.muted, state.muted ? "microphoneOff" : "microphone", state.muted ? "Unmute" : "Mute");
      press(controls.camera, !state.cameraOff, state.cameraOff ? "cameraOff" : "camera", state.cameraOff ? "Start camera" : "Stop camera");
      setText(controls.camera.label, "Camera");
      setAttribute(controls.numbers.button, "aria-expanded", String(state.numbers));
      view.classList.toggle("shows-numbers", state.numbers);
      numbers.element.hidden = !state.numbers;
      grid.update(state);
      if (dialog.open) pickers.update();
    },
  };
}

/**
 * @param {IconName} picture
 * @param {string} label
 * @param {() => void} click
 * @param {string} [key]
 */
function control(picture, label, click, key) {
  const holder = element("span", { class: "control-icon" }, icon(picture));
  const text = element("span", { class: "control-label" }, label);
  const button = element("button", { type: "button", class: "control", "aria-keyshortcuts": key, title: key ? `${label} (${key.toUpperCase()})` : label, on: { click } }, holder, text);
  return { button, holder, label: text, picture };
}

/**
 * Shows whether a device is on; the button's name says what a press will do.
 * @param {ReturnType<typeof control>} target
 * @param {boolean} on
 * @param {IconName} picture
 * @param {string} label
 */
function press(target, on, picture, label) {
  target.button.classList.toggle("is-off", !on);
  setAttribute(target.button, "aria-label", label);
  setText(target.label, label);
  if (target.picture !== picture) {
    target.picture = picture;
    target.holder.replaceChildren(icon(picture));
  }
}
