// @ts-check
/** The page's state and every way in which it changes: `reduce(state, action)`, pure. Views draw it, main.js feeds it. */

/**
 * @typedef {"motion" | "camera" | "screen" | "none"} Kind
 * @typedef {object} Participant
 * @property {string} id
 * @property {string} name
 * @property {Kind} kind what it publishes: motion of a face, a camera track, or nothing; or it is a screen that `owner` shares
 * @property {string} [owner]
 * @property {boolean} muted
 * @property {boolean} camera_off
 * @property {boolean} avatar the face shown is not the sender's own
 * @property {"live" | "lost" | "waiting"} state
 * @property {number} publication grows with each new publish connection; viewers then subscribe anew
 *
 * @typedef {"lobby" | "joining" | "call" | "reconnecting" | "left"} Phase
 *
 * @typedef {object} State
 * @property {Phase} phase
 * @property {string} room
 * @property {string} name own name
 * @property {string | null} self own participant id
 * @property {string | null} resume token that brings a lost connection back
 * @property {readonly Participant[]} roster everybody, oneself included, in the server's order
 * @property {string | null} speaking id of the one who speaks
 * @property {boolean} recording whether the server records the room
 * @property {boolean} mayRecord whether one's token permits that
 * @property {boolean} sharing whether one shares a screen
 * @property {boolean} muted
 * @property {boolean} cameraOff
 * @property {boolean} numbers whether the numbers panel is open
 * @property {boolean} shortcuts whether single keys act during a call
 * @property {{[participant: string]: any}} statistics the server's, by participant
 * @property {string | null} problem why joining failed or the call ended, in words
 *
 * @typedef {{type: "join", name: string, room: string}
 *   | {type: "joined", participant: string, resume: string | null, roster: readonly Participant[], recording?: boolean, mayRecord?: boolean}
 *   | {type: "recording", recording: boolean}
 *   | {type: "sharing", sharing: boolean}
 *   | {type: "refused", problem: string}
 *   | {type: "roster", participants: readonly Participant[]}
 *   | {type: "speaking", participant: string | null}
 *   | {type: "lost"}
 *   | {type: "left", problem: string | null}
 *   | {type: "lobby"}
 *   | {type: "own", muted: boolean, cameraOff: boolean}
 *   | {type: "numbers", open: boolean}
 *   | {type: "shortcuts", on: boolean}
 *   | {type: "statistics", participants: {[participant: string]: any}}} Action
 */

/**
 * @param {{room?: string, name?: string, shortcuts?: boolean}} [given]
 * @returns {State}
 */
export function initialState({ room = "", name = "", shortcuts = true } = {}) {
  return {
    phase: "lobby",
    room,
    name,
    self: null,
    resume: null,
    roster: [],
    speaking: null,
    recording: false,
    mayRecord: false,
    sharing: false,
    muted: false,
    cameraOff: false,
    numbers: false,
    shortcuts,
    statistics: {},
    problem: null,
  };
}

/**
 * @param {State} state
 * @param {Action} action
 * @returns {State} a new state, or the same one when the action means nothing now
 */
export function reduce(state, action) {
  const inCall = state.phase === "call" || state.phase === "reconnecting";
  switch (action.type) {
    case "join":
      return { ...state, phase: "joining", name: action.name, room: action.room, problem: null };
    case "joined":
      if (state.phase !== "joining" && !inCall) return state;
      return {
        ...state,
        phase: "call",
        self: action.participant,
        resume: action.resume,
        roster: action.roster,
        recording: action.recording === true,
        mayRecord: action.mayRecord === true,
        problem: null,
      };
    case "sharing":
      return inCall ? { ...state, sharing: action.sharing } : state;
    case "recording":
      return inCall ? { ...state, recording: action.recording } : state;
    case "refused":
      return state.phase === "joining" ? { ...state, phase: "lobby", problem: action.problem } : state;
    case "roster":
      return inCall ? { ...state, roster: action.participants } : state;
    case "speaking":
      return inCall ? { ...state, speaking: action.participant } : state;
    case "lost":
      return state.phase === "call" ? { ...state, phase: "reconnecting", speaking: null } : state;
    case "left":
      if (!inCall && state.phase !== "joining") return state;
      return { ...initialState(state), phase: "left", muted: state.muted, cameraOff: state.cameraOff, problem: action.problem };
    case "lobby":
      return { ...initialState(state), muted: state.muted, cameraOff: state.cameraOff };
    case "own":
      if (action.muted === state.muted && action.cameraOff === state.cameraOff) return state;
      return { ...state, muted: action.muted, cameraOff: action.cameraOff };
    case "numbers":
      return { ...state, numbers: action.open };
    case "shortcuts":
      return { ...state, shortcuts: action.on };
    case "statistics":
      return inCall ? { ...state, statistics: action.participants } : state;
  }
}

/**
 * Everybody but oneself.
 * @param {State} state
 * @returns {Participant[]}
 */
export function others(state) {
  return people(state.roster).filter((participant) => participant.id !== state.self);
}

/**
 * Those who are somebody: a shared screen has an entry, too.
 * @param {readonly Participant[]} roster
 */
export function people(roster) {
  return roster.filter((participant) => participant.owner === undefined);
}

/**
 * Screens that others share, the one that came last at the end.
 * @param {State} state
 * @returns {Participant[]}
 */
export function screens(state) {
  return state.roster.filter((participant) => participant.owner !== undefined && participant.owner !== state.self);
}

/**
 * Whether somebody's signal is lost. A camera that was turned off sends no pictures either, and that is no loss.
 * @param {Participant} participant
 */
export function signalLost({ state, kind, camera_off: cameraOff }) {
  return state === "lost" && !(kind === "camera" && cameraOff);
}

/**
 * Which participants to start and to stop watching so that exactly the present publishers are watched. One that published
 * anew is in `start` alone: its old picture stands until the new one comes. One whose connection is lost keeps what is watched,
 * and nothing new is started until it is back.
 * @param {ReadonlyMap<string, number>} watched publication number by participant id
 * @param {readonly Participant[]} remote everybody but oneself
 * @returns {{start: Participant[], stop: string[]}}
 */
export function watchPlan(watched, remote) {
  const publishers = remote.filter((participant) => participant.kind !== "none");
  const wanted = new Set(publishers.map((participant) => participant.id));
  return {
    start: publishers.filter((participant) => !signalLost(participant) && watched.get(participant.id) !== participant.publication),
    stop: [...watched.keys()].filter((id) => !wanted.has(id)),
  };
}

/**
 * What a screen reader says about the step from one state to the next.
 * @param {State} before
 * @param {State} after
 * @returns {string[]} sentences
 */
export function announcements(before, after) {
  if (after.phase === "reconnecting" && before.phase === "call") return ["Connection lost. Reconnecting."];
  if (after.phase === "call" && before.phase === "reconnecting") return ["Connected again."];
  if (after.phase === "call" && before.phase === "joining") return [`You are in ${after.room}. ${company(others(after))}${after.recording ? " This call is being recorded." : ""}`];
  if (after.phase !== "call" || before.phase !== "call") return [];
  if (after.recording !== before.recording) return [after.recording ? "This call is being recorded." : "The recording has ended."];
  if (before.roster === after.roster) return [];
  const earlier = new Map(others(before).map((participant) => [participant.id, participant]));
  const later = new Map(others(after).map((participant) => [participant.id, participant]));
  const sentences = [];
  const shown = new Set(screens(before).map(({ id }) => id));
  for (const screen of screens(after)) if (!shown.delete(screen.id)) sentences.push(`${screen.name} shares a screen.`);
  for (const screen of screens(before)) if (shown.has(screen.id)) sentences.push(`${screen.name} shares no screen any more.`);
  for (const [id, participant] of earlier) if (!later.has(id)) sentences.push(`${participant.name} left.`);
  for (const [id, participant] of later) {
    const known = earlier.get(id);
    if (known === undefined) {
      sentences.push(`${participant.name} joined${participant.avatar ? ", shown as an avatar" : ""}.`);
      continue;
    }
    if (known.name !== participant.name) sentences.push(`${known.name} is now called ${participant.name}.`);
    if (signalLost(participant) && !signalLost(known)) sentences.push(`The signal of ${participant.name} is lost.`);
    if (participant.state === "live" && signalLost(known)) sentences.push(`${participant.name} is back.`);
    if (participant.avatar && !known.avatar) sentences.push(`${participant.name} is now shown as an avatar.`);
  }
  return sentences;
}

/** @param {Participant[]} present */
function company(present) {
  if (present.length === 0) return "Nobody else is here yet.";
  if (present.length === 1) return `${present[0]?.name} is here.`;
  return `${present.length} others are here.`;
}

/**
 * What can name a room, out of what a person typed: letters without accents, digits, dots, dashes, underscores; at most 64.
 * Capitals stay, because the server distinguishes them.
 * @param {string} text
 */
export function roomName(text) {
  return text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 64);
}

/**
 * At most two letters that stand for somebody without a picture.
 * @param {string} name
 */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const picked = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return picked.map((word) => [...(word ?? "")][0]?.toUpperCase() ?? "").join("") || "?";
}
