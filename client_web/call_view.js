// @ts-check
/** The call's page: header, stage, numbers panel and the bar of controls. */
import { createDevicePickers } from "./device_pickers.js";
import { element, setAttribute, setText } from "./element.js";
import { createGrid } from "./grid.js";
import { icon, mark } from "./icons.js";
import { createNumbersPanel } from "./numbers_panel.js";
import { canShareScreen } from "./screen.js";
import { createSendingView } from "./sending_view.js";
import { SHORTCUTS } from "./shortcuts.js";
import { people as everybody } from "./state.js";

/**
 * @typedef {import("./state.js").State} State
 * @typedef {import("./icons.js").IconName} IconName
 *
 * @typedef {object} CallActions
 * @property {() => void} toggleCamera
 * @property {() => void} toggleMicrophone
 * @property {() => void} toggleNumbers
 * @property {() => void} shareScreen
 * @property {() => void} record
 * @property {() => void} share
 * @property {() => void} pictureInPicture
 * @property {() => void} leave
 * @property {(on: boolean) => void} useShortcuts
 * @property {(device: "camera" | "microphone" | "speaker", id: string) => void} choose
 * @property {(participant: string, view: {yaw: number, pitch: number}) => void} onView
 * @property {(way: import("./sending.js").Way) => void} chooseSending
 * @property {() => void} takeAnotherPicture
 */

/**
 * @param {import("./devices.js").OwnDevices} devices
 * @param {CallActions} actions
 */
export function createCallView(devices, actions) {
  const room = element("span", { class: "call-room" });
  const people = element("span", { class: "call-people" });
  const recording = element("span", { class: "call-recording", title: "Everything that is said and shown here is being recorded" }, "Recording");
  recording.hidden = true;
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
  const shortcuts = element("input", {
    type: "checkbox",
    role: "switch",
    id: "use-shortcuts",
    "aria-describedby": "shortcut-words",
    on: { change: () => actions.useShortcuts(shortcuts.checked) },
  });
  const sending = createSendingView({ choose: actions.chooseSending, another: actions.takeAnotherPicture });
  const dialog = element(
    "dialog",
    { class: "dialog", "aria-labelledby": "dialog-title" },
    element("h2", { id: "dialog-title" }, "Settings"),
    sending.element,
    pickers.element,
    element(
      "div",
      { class: "switch" },
      element("label", { for: "use-shortcuts" }, "Keyboard shortcuts"),
      shortcuts,
      element("p", { class: "hint keys", id: "shortcut-words" }, ...Object.values(SHORTCUTS).map(({ key, words }) => element("span", {}, element("kbd", {}, key.toUpperCase()), ` ${words} `))),
    ),
    closeDialog,
  );

  function openDialog() {
    pickers.update();
    dialog.showModal();
  }

  const controls = {
    microphone: control("microphone", "Mute", actions.toggleMicrophone),
    camera: control("camera", "Camera", actions.toggleCamera),
    screen: control("screen", "Screen", actions.shareScreen),
    numbers: control("numbers", "Numbers", actions.toggleNumbers),
    pictureInPicture: control("pictureInPicture", "Pop out", actions.pictureInPicture),
    record: control("record", "Record", actions.record),
    share: control("share", "Share", actions.share),
    settings: control("settings", "Settings", openDialog),
    leave: control("leave", "Leave", actions.leave),
  };
  setAttribute(controls.pictureInPicture.button, "aria-label", "Picture in picture");
  setAttribute(controls.share.button, "aria-label", "Copy the link to this room");
  setAttribute(controls.numbers.button, "aria-controls", "numbers");
  controls.pictureInPicture.button.hidden = !document.pictureInPictureEnabled;
  controls.screen.button.hidden = !canShareScreen();
  controls.leave.button.classList.add("is-leave");
  const toolbar = element("div", { class: "controls", role: "group", "aria-label": "Call controls" }, ...Object.values(controls).map(({ button }) => button));
  const heading = element("h1", { class: "visually-hidden", tabindex: -1 }, "Call");

  const view = element(
    "main",
    { class: "call" },
    heading,
    element("header", { class: "call-header" }, element("span", { class: "brand" }, mark(), element("span", { class: "brand-word" }, "visavis")), element("div", { class: "call-where" }, recording, room, people)),
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
    /**
     * @param {State} state
     * @param {import("./sending.js").SendingView} sent
     */
    update(state, sent) {
      setText(room, state.room);
      const count = everybody(state.roster).length;
      setText(people, `${count} ${count === 1 ? "person" : "people"}`);
      controls.screen.button.classList.toggle("is-sharing", state.sharing);
      setText(controls.screen.label, state.sharing ? "Stop" : "Screen");
      setAttribute(controls.screen.button, "aria-label", state.sharing ? "Stop sharing your screen" : "Share your screen");
      setAttribute(controls.screen.button, "title", state.sharing ? "Stop sharing your screen" : "Share your screen");
      recording.hidden = !state.recording;
      controls.record.button.hidden = !state.mayRecord;
      controls.record.button.classList.toggle("is-recording", state.recording);
      setText(controls.record.label, state.recording ? "Stop" : "Record");
      setAttribute(controls.record.button, "aria-label", state.recording ? "Stop the recording" : "Record this call");
      setAttribute(controls.record.button, "title", state.recording ? "Stop the recording" : "Record this call");
      banner.hidden = state.phase !== "reconnecting";
      setText(banner, state.phase === "reconnecting" ? "Connection lost. Reconnecting…" : "");
      press(controls.microphone, !state.muted, state.muted ? "microphoneOff" : "microphone", state.muted ? "Unmute" : "Mute");
      press(controls.camera, !state.cameraOff, state.cameraOff ? "cameraOff" : "camera", state.cameraOff ? "Start camera" : "Stop camera");
      setText(controls.camera.label, "Camera");
      shortcuts.checked = state.shortcuts;
      for (const [name, { key }] of Object.entries(SHORTCUTS)) showKey(controls[/** @type {keyof typeof SHORTCUTS} */ (name)], state.shortcuts ? key : null);
      setAttribute(controls.numbers.button, "aria-expanded", String(state.numbers));
      view.classList.toggle("shows-numbers", state.numbers);
      numbers.element.hidden = !state.numbers;
      grid.update(state);
      if (dialog.open) pickers.update();
      sending.update(sent, devices.camera !== null);
    },
  };
}

/**
 * @param {IconName} picture
 * @param {string} label
 * @param {() => void} click
 */
function control(picture, label, click) {
  const holder = element("span", { class: "control-icon" }, icon(picture));
  const text = element("span", { class: "control-label" }, label);
  const button = element("button", { type: "button", class: "control", title: label, on: { click } }, holder, text);
  return { button, holder, label: text, picture };
}

/**
 * Names the key that does the same, where there is one.
 * @param {ReturnType<typeof control>} target
 * @param {string | null} key
 */
function showKey({ button, label }, key) {
  const name = button.getAttribute("aria-label") ?? label.textContent ?? "";
  setAttribute(button, "aria-keyshortcuts", key);
  setAttribute(button, "title", key === null ? name : `${name} (${key.toUpperCase()})`);
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
