import assert from "node:assert/strict";
import { test } from "node:test";
import { announcements, initialState, initials, others, people, reduce, roomName, screens, signalLost, watchPlan } from "../../client_web/state.js";

const person = (id, more = {}) => ({
  id,
  name: id.toUpperCase(),
  kind: "motion",
  muted: false,
  camera_off: false,
  avatar: false,
  state: "live",
  publication: 1,
  ...more,
});

const inCall = (roster = []) =>
  [
    { type: "join", name: "Me", room: "r" },
    { type: "joined", participant: "me", resume: "secret", roster: [person("me"), ...roster] },
  ].reduce(reduce, initialState());

test("from the lobby into the call and out again", () => {
  let state = reduce(initialState({ room: "r" }), { type: "join", name: "Ada", room: "r" });
  assert.equal(state.phase, "joining");
  state = reduce(state, { type: "joined", participant: "me", resume: "secret", roster: [person("me"), person("b")] });
  assert.deepEqual([state.phase, state.self, state.resume], ["call", "me", "secret"]);
  assert.deepEqual(others(state).map(({ id }) => id), ["b"]);
  state = reduce(state, { type: "left", problem: null });
  assert.deepEqual([state.phase, state.self, state.roster.length, state.name, state.room], ["left", null, 0, "Ada", "r"]);
  assert.equal(reduce(state, { type: "lobby" }).phase, "lobby");
});

test("a refusal leads back to the lobby and says why", () => {
  const joining = reduce(initialState(), { type: "join", name: "Ada", room: "r" });
  const refused = reduce(joining, { type: "refused", problem: "the room is full" });
  assert.deepEqual([refused.phase, refused.problem], ["lobby", "the room is full"]);
  assert.equal(reduce(refused, { type: "join", name: "Ada", room: "r" }).problem, null);
});

test("a loss keeps the roster, and coming back goes on in the call", () => {
  const lost = reduce(inCall([person("b")]), { type: "lost" });
  assert.deepEqual([lost.phase, others(lost).length], ["reconnecting", 1]);
  const back = reduce(lost, { type: "joined", participant: "me", resume: "s2", roster: [person("me")] });
  assert.deepEqual([back.phase, others(back).length, back.resume], ["call", 0, "s2"]);
});

test("what comes late means nothing", () => {
  const lobby = initialState();
  for (const action of [
    { type: "roster", participants: [person("b")] },
    { type: "speaking", participant: "b" },
    { type: "statistics", participants: {} },
    { type: "joined", participant: "me", resume: null, roster: [] },
    { type: "lost" },
    { type: "left", problem: null },
  ]) {
    assert.equal(reduce(lobby, action), lobby, action.type);
  }
});

test("one's own devices survive leaving, and an unchanged device is no change", () => {
  const muted = reduce(inCall(), { type: "own", muted: true, cameraOff: true });
  assert.equal(reduce(muted, { type: "own", muted: true, cameraOff: true }), muted);
  const left = reduce(muted, { type: "left", problem: null });
  assert.deepEqual([left.muted, left.cameraOff], [true, true]);
});

test("the reducer never changes what it was given", () => {
  const frozen = Object.freeze({ ...inCall([person("b")]) });
  reduce(frozen, { type: "roster", participants: [] });
  reduce(frozen, { type: "numbers", open: true });
  assert.equal(frozen.numbers, false);
});

test("exactly the present publications are watched", () => {
  const watched = new Map([["a", 1], ["b", 1], ["gone", 3], ["silent", 1]]);
  const roster = [person("a"), person("b", { publication: 2 }), person("c"), person("silent", { kind: "none" })];
  const plan = watchPlan(watched, roster);
  assert.deepEqual(plan.start.map(({ id }) => id), ["b", "c"]);
  assert.deepEqual(plan.stop, ["gone", "silent"]);
});

test("nothing new is watched of somebody whose signal is lost, and nothing is stopped", () => {
  const lost = [person("a", { state: "lost" }), person("b", { state: "lost", publication: 2 })];
  assert.deepEqual(watchPlan(new Map([["b", 1]]), lost), { start: [], stop: [] });
});

test("a screen reader hears who comes, goes, is lost and comes back", () => {
  const one = inCall([person("b"), person("c")]);
  const step = (participants) => reduce(one, { type: "roster", participants: [person("me"), ...participants] });
  assert.deepEqual(announcements(one, step([person("b")])), ["C left."]);
  assert.deepEqual(announcements(one, step([person("b"), person("c"), person("d", { avatar: true })])), ["D joined, shown as an avatar."]);
  const lost = step([person("b", { state: "lost" }), person("c")]);
  assert.deepEqual(announcements(one, lost), ["The signal of B is lost."]);
  assert.deepEqual(announcements(lost, one), ["B is back."]);
  assert.deepEqual(announcements(one, step([person("b", { name: "Bea" }), person("c", { avatar: true })])), [
    "B is now called Bea.",
    "C is now shown as an avatar.",
  ]);
});

test("a camera turned off is not a lost signal, but a lost face is", () => {
  const off = { state: "lost", camera_off: true };
  assert.equal(signalLost(person("b", { ...off, kind: "camera" })), false);
  assert.equal(signalLost(person("b", { ...off, kind: "motion" })), true);
  const one = inCall([person("b", { kind: "camera" })]);
  const turnedOff = reduce(one, { type: "roster", participants: [person("me"), person("b", { ...off, kind: "camera" })] });
  assert.deepEqual(announcements(one, turnedOff), []);
  assert.deepEqual(watchPlan(new Map(), others(turnedOff)).start.length, 1);
});

test("muting, speaking and statistics are not announced", () => {
  const one = inCall([person("b")]);
  const muted = reduce(one, { type: "roster", participants: [person("me"), person("b", { muted: true })] });
  assert.deepEqual(announcements(one, muted), []);
  assert.deepEqual(announcements(one, reduce(one, { type: "speaking", participant: "b" })), []);
});

test("joining, losing and regaining the line are announced", () => {
  const joining = reduce(initialState(), { type: "join", name: "Me", room: "r" });
  assert.deepEqual(announcements(joining, inCall([person("b")])), ["You are in r. B is here."]);
  assert.deepEqual(announcements(joining, inCall()), ["You are in r. Nobody else is here yet."]);
  const lost = reduce(inCall(), { type: "lost" });
  assert.deepEqual(announcements(inCall(), lost), ["Connection lost. Reconnecting."]);
  assert.deepEqual(announcements(lost, inCall()), ["Connected again."]);
});

test("rooms are named as links can carry them", () => {
  const server = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
  assert.equal(roomName("  Café Münster! "), "Cafe-Munster");
  assert.equal(roomName("Team.7_b"), "Team.7_b");
  assert.equal(roomName("..--"), "");
  assert.equal(roomName("日本"), "");
  for (const text of ["a".repeat(99), "-x-", "Ä/Ö?ü=1", "x" + "-".repeat(80) + "y", "._a"]) assert.match(roomName(text), server, text);
});

test("initials", () => {
  assert.deepEqual(["Ada Lovelace", "grace", "Jean  van der Berg", "", "🦊 fox"].map(initials), ["AL", "G", "JB", "?", "🦊F"]);
});

test("the choice to do without shortcuts outlives the call", () => {
  const off = reduce(initialState(), { type: "shortcuts", on: false });
  const joining = reduce(off, { type: "join", name: "Ada", room: "r" });
  const left = reduce(joining, { type: "left", problem: null });
  assert.deepEqual([initialState().shortcuts, off.shortcuts, left.shortcuts, reduce(left, { type: "lobby" }).shortcuts], [true, false, false, false]);
});

test("everybody is told when a recording begins and ends, and who comes later sees it", () => {
  const call = inCall([person("b")]);
  assert.deepEqual([call.recording, call.mayRecord], [false, false]);
  const recorded = reduce(call, { type: "recording", recording: true });
  assert.equal(recorded.recording, true);
  assert.deepEqual(announcements(call, recorded), ["This call is being recorded."]);
  assert.deepEqual(announcements(recorded, reduce(recorded, { type: "recording", recording: false })), ["The recording has ended."]);
  const late = reduce(reduce(initialState(), { type: "join", name: "Me", room: "r" }), {
    type: "joined",
    participant: "me",
    resume: null,
    roster: [person("me")],
    recording: true,
    mayRecord: true,
  });
  assert.deepEqual([late.recording, late.mayRecord], [true, true]);
  assert.equal(reduce(late, { type: "left", problem: null }).recording, false);
});

test("a shared screen is nobody, and one's own is not shown to oneself", () => {
  const screen = (id, owner) => person(id, { name: owner.toUpperCase(), kind: "screen", owner });
  const before = inCall([person("b")]);
  const after = reduce(before, { type: "roster", participants: [person("me"), person("b"), screen("s", "b"), screen("t", "me")] });
  assert.deepEqual(others(after).map(({ id }) => id), ["b"]);
  assert.deepEqual(screens(after).map(({ id }) => id), ["s"]);
  assert.equal(people(after.roster).length, 2);
  assert.deepEqual(announcements(before, after), ["B shares a screen."]);
  assert.deepEqual(announcements(after, before), ["B shares no screen any more."]);
  assert.equal(reduce(after, { type: "sharing", sharing: true }).sharing, true);
});
