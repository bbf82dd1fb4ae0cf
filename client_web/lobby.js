// @ts-check
/** The lobby: name, room, a preview of oneself, devices, and what to do when one of them does not open. */
import { createDevicePickers, createLevelMeter } from "./device_pickers.js";
import { deviceNotices } from "./devices.js";
import { element, setAttribute, setText } from "./element.js";
import { icon, mark } from "./icons.js";
import { createSendingView } from "./sending_view.js";
import { initials, roomName } from "./state.js";

/**
 * @typedef {import("./state.js").State} State
 * @typedef {import("./devices.js").OwnDevices} OwnDevices
 *
 * @typedef {object} LobbyActions
 * @property {(name: string, room: string) => void} join
 * @property {() => void} toggleCamera
 * @property {() => void} toggleMicrophone
 * @property {() => void} retry
 * @property {(text: string) => {room: string | null} | null} invited takes a pasted invitation; null when it is none
 * @property {(way: import("./sending.js").Way) => void} chooseSending
 * @property {() => void} takeAnotherPicture
 * @property {(device: "camera" | "microphone" | "speaker", id: string) => void} choose
 */

/**
 * @param {OwnDevices} devices
 * @param {LobbyActions} actions
 * @param {{name: string, room: string, needsInvitation: boolean}} given
 */
export function createLobby(devices, actions, given) {
  const video = element("video", { class: "preview-video", playsinline: true, autoplay: true, tabindex: -1, "aria-label": "Your camera" });
  video.muted = true;
  video.disablePictureInPicture = true;
  const letters = element("span", { class: "tile-letters", "aria-hidden": "true" });
  const off = element("p", { class: "preview-off" });
  const microphone = element("button", { type: "button", class: "round", on: { click: actions.toggleMicrophone } });
  const camera = element("button", { type: "button", class: "round", on: { click: actions.toggleCamera } });
  const sending = createSendingView({ choose: actions.chooseSending, another: actions.takeAnotherPicture });
  const preview = element(
    "div",
    { class: "preview" },
    video,
    letters,
    off,
    sending.face,
    element("div", { class: "preview-controls" }, microphone, camera),
  );
  const meter = createLevelMeter();
  const pickers = createDevicePickers(devices, actions.choose);

  const name = element("input", {
    id: "own-name",
    name: "name",
    type: "text",
    autocomplete: "name",
    maxlength: 64,
    required: true,
    placeholder: "How others see you",
    value: given.name,
  });
  const room = element("input", {
    id: "room",
    name: "room",
    type: "text",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    maxlength: 64,
    required: true,
    value: given.room,
    "aria-describedby": "room-hint",
  });
  let uninvited = given.needsInvitation;
  const invitation = element("input", {
    id: "invitation",
    name: "invitation",
    type: "text",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    placeholder: "Paste the link that you were sent",
    "aria-describedby": "invitation-hint",
  });
  const INVITATION_HINT = "This server lets in whoever was invited.";
  const invitationHint = element("p", { class: "hint", id: "invitation-hint", role: "status" }, INVITATION_HINT);
  const invitationField = element("div", { class: "field" }, element("label", { for: "invitation" }, "Invitation"), invitation, invitationHint);
  invitationField.hidden = !uninvited;
  invitation.addEventListener("input", () => {
    const opened = actions.invited(invitation.value);
    uninvited = opened === null;
    if (opened?.room) room.value = opened.room;
    setText(invitationHint, opened ? "The invitation is taken." : invitation.value.trim() ? "This is not an invitation." : INVITATION_HINT);
  });
  const problem = element("p", { class: "problem", role: "alert" });
  const joinText = element("span", {}, "Join the call");
  const joinButton = element("button", { type: "submit", class: "primary" }, joinText);
  const form = element(
    "form",
    {
      class: "lobby-form",
      "aria-label": "Join a call",
      on: {
        submit: (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          const wanted = roomName(room.value);
          room.value = wanted;
          if (uninvited) invitation.focus();
          else if (name.value.trim() && wanted) actions.join(name.value.trim(), wanted);
          else (name.value.trim() ? room : name).focus();
        },
      },
    },
    invitationField,
    element("div", { class: "field" }, element("label", { for: "own-name" }, "Your name"), name),
    element(
      "div",
      { class: "field" },
      element("label", { for: "room" }, "Room"),
      room,
      element("p", { class: "hint", id: "room-hint" }, "Everybody who opens this room meets in it."),
    ),
    element("details", { class: "devices" }, element("summary", {}, icon("settings"), "Camera, microphone, speaker"), pickers.element),
    problem,
    joinButton,
  );
  const notices = element("div", { class: "notices", role: "status" });
  name.addEventListener("input", () => setText(letters, initials(name.value)));

  const lobby = element(
    "main",
    { class: "lobby" },
    element("header", { class: "lobby-header" }, element("span", { class: "brand" }, mark(), "visavis")),
    element(
      "div",
      { class: "lobby-body" },
      element("section", { class: "lobby-preview", "aria-label": "Preview" }, preview, meter.element, sending.element, notices),
      element(
        "section",
        { class: "lobby-words" },
        element("h1", {}, "Face to face, ", element("br"), "in a few kilobits."),
        element("p", { class: "lead" }, "Here a face travels as motion, not as pixels. You need no more than a browser."),
        form,
      ),
    ),
  );

  return {
    element: lobby,
    /** The room that is typed. */
    room: () => roomName(room.value),
    /** Puts the focus where a person goes on. */
    begin: () => (name.value ? joinButton : name).focus(),
    /**
     * @param {State} state
     * @param {import("./sending.js").SendingView} sent
     */
    update(state, sent) {
      const cameraOn = devices.wanted.camera && devices.camera !== null;
      const microphoneOn = devices.wanted.microphone && devices.microphone !== null;
      const stream = devices.camera ? video.srcObject : null;
      if (devices.camera && !(stream instanceof MediaStream && stream.getTracks()[0] === devices.camera)) {
        video.srcObject = new MediaStream([devices.camera]);
      } else if (!devices.camera) video.srcObject = null;
      preview.classList.toggle("has-picture", cameraOn);
      lobby.classList.toggle("has-microphone", devices.microphone !== null);
      setText(letters, initials(name.value));
      setText(off, cameraOn ? "" : devices.wanted.camera && !devices.problems.camera ? "Starting the camera" : "You join without a picture");
      toggle(microphone, microphoneOn, "microphone", "microphoneOff", "Microphone");
      toggle(camera, cameraOn, "camera", "cameraOff", "Camera");
      sending.update(sent, cameraOn);
      preview.classList.toggle("has-face", !sending.face.hidden);
      pickers.update();
      drawNotices(notices, devices, actions.retry);
      const joining = state.phase === "joining";
      joinButton.disabled = joining;
      setText(joinText, joining ? "Joining…" : "Join the call");
      setText(problem, state.problem ?? "");
      problem.hidden = !state.problem;
    },
    /** @param {number} level */
    level(level) {
      meter.update(level, devices.microphone === null ? "none" : devices.microphone.enabled ? "on" : "off");
    },
  };
}

/**
 * @param {HTMLButtonElement} button
 * @param {boolean} on
 * @param {import("./icons.js").IconName} onIcon
 * @param {import("./icons.js").IconName} offIcon
 * @param {string} label
 */
function toggle(button, on, onIcon, offIcon, label) {
  if (button.dataset["on"] === String(on)) return;
  button.dataset["on"] = String(on);
  button.replaceChildren(icon(on ? onIcon : offIcon));
  setAttribute(button, "aria-label", label);
  setAttribute(button, "aria-pressed", String(on));
  setAttribute(button, "title", `${label} is ${on ? "on" : "off"}`);
  button.classList.toggle("is-off", !on);
}

/**
 * @param {HTMLElement} target
 * @param {OwnDevices} devices
 * @param {() => void} retry
 */
function drawNotices(target, devices, retry) {
  const { wanted, problems } = devices;
  const shown = deviceNotices(wanted.camera ? problems.camera : null, wanted.microphone ? problems.microphone : null);
  const key = JSON.stringify(shown);
  if (target.dataset["key"] === key) return;
  target.dataset["key"] = key;
  target.replaceChildren(
    ...shown.map(({ title, advice }, i) => {
      const again = i === shown.length - 1 && element("button", { type: "button", class: "secondary", on: { click: retry } }, "Try again");
      return element("div", { class: "notice" }, icon("warning"), element("div", {}, element("strong", {}, title), element("p", {}, advice), again));
    }),
  );
}
