// @ts-check
/** Puts the page together: state and views on one side, devices and the session on the other. */
import { createCallView } from "./call_view.js";
import { OwnDevices } from "./devices.js";
import { exchangeInvitation, inviteLink, makeInvitation, readAccess } from "./invitation.js";
import { createLeftView } from "./left_view.js";
import { createLobby } from "./lobby.js";
import { Measurement } from "./measurement.js";
import { startRecording, stopRecording } from "./recording.js";
import { remember, remembered } from "./remembered.js";
import { chooseScreen } from "./screen.js";
import { Sending } from "./sending.js";
import { Session } from "./session.js";
import { shortcutOf } from "./shortcuts.js";
import { RequestError } from "./signalling.js";
import { announcements, initialState, others, reduce, roomName, screens } from "./state.js";
import { announce, toast } from "./toasts.js";
import { keepAwake } from "./wake_lock.js";

/** @typedef {import("./state.js").Action} Action */

/** @type {{room?: string, token?: string, motion?: boolean, development?: boolean}} */
const config = await fetch("api/config").then(
  (response) => (response.ok ? response.json() : {}),
  () => ({}), // joining reports that the server cannot be reached
);
const address = new URL(window.location.href);
/** What opens rooms: from the page's address, or pasted in the lobby. */
let access = readAccess(address.href);

let state = initialState({
  room: roomName(address.searchParams.get("room") ?? config.room ?? ""),
  name: remembered("name") ?? "",
  shortcuts: remembered("shortcuts") !== "off",
});
/** @type {Session | null} */
let session = null;

const devices = new OwnDevices(onDevices);
const sending = new Sending(config.motion === true, token, () => session?.call ?? null, onSending);
const page = /** @type {HTMLElement} */ (document.getElementById("page"));
const lobby = createLobby(
  devices,
  {
    join,
    toggleCamera,
    toggleMicrophone,
    choose,
    retry: () => void devices.open(),
    invited,
    chooseSending: (way) => sending.choose(way),
    takeAnotherPicture: () => sending.takeAnotherPicture(),
  },
  {
    name: state.name,
    room: state.room,
    needsInvitation: config.development === false && access.token === null && access.invitation === null,
  },
);
const call = createCallView(devices, {
  toggleCamera,
  toggleMicrophone,
  choose,
  toggleNumbers,
  shareScreen: () => void shareScreen(),
  record: () => void record(),
  share: () => void share(),
  pictureInPicture: () => void pictureInPicture(),
  leave: () => session?.leave(),
  useShortcuts,
  chooseSending: (way) => sending.choose(way),
  takeAnotherPicture: () => sending.takeAnotherPicture(),
  onView: (participant, view) => void session?.call?.turn(participant, view).catch(() => undefined),
});
const left = createLeftView({ again: () => join(state.name, state.room), lobby: () => dispatch({ type: "lobby" }) });
const measurement = new Measurement(call, () => session, (participants) => dispatch({ type: "statistics", participants }), () => state);

/** @param {Action} action */
function dispatch(action) {
  const before = state;
  state = reduce(state, action);
  if (state === before) return;
  const sentences = announcements(before, state).join(" ");
  if (sentences) announce(sentences);
  if (before.phase !== state.phase) onPhase(before.phase);
  render();
}

/** @param {import("./state.js").Phase} before */
function onPhase(before) {
  if (state.phase === "call") {
    address.searchParams.set("room", state.room);
    history.replaceState(null, "", address);
    if (before === "joining") measurement.start();
  }
  const inCall = state.phase === "call" || state.phase === "reconnecting";
  keepAwake(inCall);
  devices.measureLevel(!inCall);
  if (state.phase === "left" || state.phase === "lobby") {
    measurement.stop();
    for (const participant of [...others(state), ...screens(state)]) call.grid.tile(participant.id)?.show(null);
  }
  document.title = inCall ? `${state.room} · visavis` : "visavis";
}

function render() {
  const inCall = state.phase === "call" || state.phase === "reconnecting";
  const shown = inCall ? call : state.phase === "left" ? left : lobby;
  if (page.firstElementChild !== shown.element) {
    page.replaceChildren(shown.element);
    shown.begin();
  }
  if (shown === lobby) {
    sending.lobby(state.phase === "lobby" ? lobby.room() : null);
    lobby.update(state, sending.view());
  } else {
    sending.lobby(null);
    shown.update(state, sending.view());
  }
  if (inCall) call.grid.own.show(ownStream());
}

/** Told last, of sending motion. @type {string | null} */
let sendingProblem = null;

/** @type {MediaStream | null} */
let ownPicture = null;

function ownStream() {
  if (devices.camera === null) ownPicture = null;
  else if (ownPicture?.getTracks()[0] !== devices.camera) ownPicture = new MediaStream([devices.camera]);
  return ownPicture;
}

/**
 * @param {string} name
 * @param {string} room
 */
function join(name, room) {
  remember("name", name);
  dispatch({ type: "join", name, room });
  session = new Session({ name, room }, token, devices, () => sending.motion(), {
    dispatch,
    onStream: (participant, stream) => call.grid.tile(participant)?.show(stream),
    onSubscribed: (participant) => call.grid.tile(participant)?.pad?.repeat(),
    onProblem: toast,
    onMuted,
    onMotionRefused: (problem) => sending.refused(problem),
  });
  void session.start();
}

/**
 * A token for the room: given in the link, or minted by a server in development mode. Asks the server in any case, so that
 * it throws while the server cannot be reached.
 * @param {string} room
 * @returns {Promise<string | null>}
 */
async function token(room) {
  const response = await fetch(`api/config?room=${encodeURIComponent(room)}`).catch(() => {
    throw new RequestError("unreachable", "The server cannot be reached. Are you online?");
  });
  const fresh = response.ok ? (await response.json()).token : null;
  if (access.invitation !== null) return exchangeInvitation(access.invitation);
  return access.token ?? fresh ?? null;
}

/**
 * Takes what somebody pasted in the lobby. It stays in the address, so that the page can be loaded again.
 * @param {string} text
 */
function invited(text) {
  const given = readAccess(text);
  if (given.invitation === null && given.token === null) return null;
  access = given;
  address.hash = given.invitation === null ? `token=${given.token}` : `invitation=${given.invitation}`;
  return { room: given.room };
}

/** @param {boolean} muted */
function onMuted(muted) {
  if (!muted) return;
  toast("You were muted. Nobody hears you until you unmute yourself.");
  if (devices.on("microphone")) void devices.setMicrophone(false);
}

/** A track came or went, a device was muted, or one did not open: the picture of oneself, the others and the lobby follow. */
function onDevices() {
  sending.setTrack(devices.camera);
  dispatch({ type: "own", muted: !devices.microphone?.enabled, cameraOff: devices.camera === null });
  render();
  void session?.updateMedia();
}

/** Motion can be sent now, or cannot any more, or a face was found or lost. */
function onSending() {
  const { problem } = sending.view();
  if (problem !== null && problem !== sendingProblem && state.phase === "call") toast(`${problem} Others get your camera's picture.`);
  sendingProblem = problem;
  render();
  void session?.updateMedia();
}

function toggleMicrophone() {
  void devices.setMicrophone(!devices.on("microphone")).then(() => showProblem("microphone"));
}

function toggleCamera() {
  void devices.setCamera(!devices.on("camera")).then(() => showProblem("camera"));
}

/**
 * @param {"camera" | "microphone" | "speaker"} device
 * @param {string} id
 */
function choose(device, id) {
  void devices.choose(device, id).then(() => {
    if (device === "speaker") void call.grid.speakThrough(id);
    else showProblem(device);
  });
}

/**
 * The lobby shows problems where they arise; in a call a short message shows them.
 * @param {"camera" | "microphone"} device
 */
function showProblem(device) {
  const problem = devices.wanted[device] ? devices.problems[device] : null;
  if (problem && state.phase === "call") toast(`${problem.title}. ${problem.advice}`);
}

function toggleNumbers() {
  dispatch({ type: "numbers", open: !state.numbers });
  measurement.now();
  if (state.numbers) call.numbers.close.focus();
  else call.focusNumbersControl();
}

async function shareScreen() {
  const sharing = session;
  if (state.sharing) return sharing?.shareScreen(null);
  try {
    const stream = await chooseScreen(() => sharing?.shareScreen(null));
    if (stream !== null) sharing?.shareScreen(stream);
  } catch {
    toast("The browser does not share a screen.");
  }
}

async function record() {
  const token = session?.token ?? null;
  try {
    await (state.recording ? stopRecording(state.room, token) : startRecording(state.room, token));
  } catch (error) {
    toast(error instanceof Error ? error.message : String(error));
  }
}

async function share() {
  let invitation = access.invitation;
  let copied = "Link copied";
  const token = session?.token ?? null;
  if (config.development === false && invitation === null && token !== null) {
    try {
      invitation = await makeInvitation(state.room, token);
    } catch (error) {
      const forbidden = error instanceof RequestError && error.code === "forbidden";
      if (!forbidden) return toast(error instanceof Error ? error.message : String(error));
      copied = "Link copied. You may not invite others: they need an invitation of their own.";
    }
  }
  const href = inviteLink(window.location, state.room, invitation);
  try {
    if (navigator.share && matchMedia("(pointer: coarse)").matches) await navigator.share({ title: "visavis", url: href });
    else {
      await navigator.clipboard.writeText(href);
      toast(copied);
    }
  } catch (error) {
    // AbortError: the person closed the share sheet
    if (!(error instanceof Error && error.name === "AbortError")) toast(`Copy this link: ${href}`);
  }
}

async function pictureInPicture() {
  try {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else {
      const video = call.grid.foremost();
      if (video) await video.requestPictureInPicture();
      else toast("There is no picture to pop out yet.");
    }
  } catch {
    toast("The browser did not open picture in picture.");
  }
}

/** @param {boolean} on */
function useShortcuts(on) {
  remember("shortcuts", on ? "on" : "off");
  dispatch({ type: "shortcuts", on });
}

document.addEventListener("keydown", (event) => {
  if (!state.shortcuts || state.phase !== "call") return;
  const typing = event.target instanceof Element && event.target.closest("input, select, textarea, dialog") !== null;
  const meant = shortcutOf(event, typing);
  if (meant === "microphone") toggleMicrophone();
  else if (meant === "camera") toggleCamera();
  else if (meant === "numbers") toggleNumbers();
  else if (meant === "pictureInPicture") void pictureInPicture();
});
window.addEventListener("pagehide", () => session?.leave());

setInterval(() => {
  if (state.phase === "lobby") lobby.update(state, sending.view());
  else if (state.phase === "call") call.update(state, sending.view());
}, 1000);

function meter() {
  if (state.phase === "lobby" || state.phase === "joining") lobby.level(devices.level());
  requestAnimationFrame(meter);
}

render();
meter();
await devices.open();
