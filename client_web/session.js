// @ts-check
/** One stay in a room: the socket, the call over it, and coming back after a loss with the resume token. */
import { Call } from "./call.js";
import { endScreen } from "./screen.js";
import { backoffMs, joinRoom, nodeAddress, refusesToken, RequestError, Signalling } from "./signalling.js";
import { signalLost } from "./state.js";

/**
 * @typedef {import("./state.js").Action} Action
 * @typedef {import("./devices.js").OwnDevices} OwnDevices
 * @typedef {import("./motion/motion_camera.js").MotionCamera} MotionCamera
 *
 * @typedef {object} SessionEvents
 * @property {(action: Action) => void} dispatch
 * @property {(participant: string, stream: MediaStream | null) => void} onStream
 * @property {(participant: string) => void} onSubscribed
 * @property {(problem: string) => void} onProblem
 * @property {(muted: boolean) => void} onMuted somebody who may do so muted us, or lets us be heard again
 * @property {(problem: string) => void} onMotionRefused
 */

/** Losing the connection for longer than this ends the call; the server forgets a resume token in about the same time. */
const GIVE_UP_AFTER_MS = 120_000;
const REPUBLISH_AFTER_MS = 4000;
const ASK_AGAIN_MS = 700;
const OVERLOADED = "The server is overloaded. Pictures come slower.";
/** Errors that another attempt may cure. */
const PASSING = ["unreachable", "disconnected", "timeout", "draining", "starting", "moved", "node_unreachable", "nodes_unavailable"];
/** Of these that a room is being placed on a node, which takes seconds: asked again soon. */
const PLACING = ["draining", "moved", "node_unreachable", "nodes_unavailable"];
/** Reasons of the server's for closing after which the page does not come back, and what it says. */
const FINAL = new Map([
  ["replaced", "You joined from another window."],
  ["removed", "You were removed from the call."],
  ["room_closed", "The call was closed."],
]);
/** So often the server must answer and yet refuse before a new token is taken: it may have been starting up. */
const REFUSALS = 2;

export class Session {
  /**
   * @param {{name: string, room: string}} who
   * @param {(room: string) => Promise<string | null>} token gives a token that opens the room, or none; throws while the
   *   server cannot be reached
   * @param {OwnDevices} devices
   * @param {() => MotionCamera | null} motion the camera as motion, where that is what is sent
   * @param {SessionEvents} events
   */
  constructor(who, token, devices, motion, events) {
    this.who = who;
    this.askToken = token;
    /** One identity for the whole stay: a resume token serves nobody else. @type {string | null} */
    this.token = null;
    this.devices = devices;
    this.motion = motion;
    this.events = events;
    this.ended = false;
    /** What is shared beside oneself. @type {MediaStream | null} */
    this.screen = null;
    /** @type {string | null} */
    this.resume = null;
    /** The node that the room has just moved to. @type {URL | null} */
    this.movedTo = null;
    /** @type {string | null} */
    this.self = null;
    /** The state of our devices that the server got last. @type {string | null} */
    this.sentState = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.lostTimer = undefined;
    /** @type {Call | null} */
    this.call = null;
    this.signalling = new Signalling({
      onEvent: (message) => this.#onEvent(message),
      onLost: () => void this.#comeBack(),
    });
  }

  /** Joins; a refusal is dispatched as "refused". */
  async start() {
    try {
      await this.#joinOnceStarted();
    } catch (error) {
      // A browser does not say why a socket did not open; where the server answers, it was the token that it refused.
      const refused = error instanceof RequestError && error.code === "unreachable" && (await this.#refused());
      if (this.ended) return;
      this.ended = true;
      this.signalling.close();
      const problem = refused ? "The server does not accept this link. Ask for a new one." : error instanceof Error ? error.message : String(error);
      this.events.dispatch({ type: "refused", problem });
    }
  }

  /** Sends the tracks, and the state that others are shown of them. */
  async updateMedia() {
    await Promise.all([this.call?.send(this.#sent()), this.#sendState()]);
  }

  /**
   * Shares a screen, or none any more. It outlives a lost connection.
   * @param {MediaStream | null} stream
   */
  shareScreen(stream) {
    if (this.screen !== stream) endScreen(this.screen);
    this.screen = stream;
    this.events.dispatch({ type: "sharing", sharing: stream !== null });
    if (stream === null) void this.call?.unshare();
    else void this.call?.share(stream);
  }

  /** @returns {import("./call.js").Sent} */
  #sent() {
    const { microphone, camera } = this.devices;
    const motion = this.motion();
    return { audio: microphone, video: motion === null ? camera : null, motion };
  }

  /** @param {string | null} [problem] why, when it was not one's own wish */
  leave(problem = null) {
    if (this.ended) return;
    this.ended = true;
    endScreen(this.screen);
    if (this.signalling.connected) void this.signalling.request("leave").catch(() => undefined);
    this.#closeCall();
    // The socket stays open for the one message above; closing sends what is queued first.
    this.signalling.close();
    this.events.dispatch({ type: "left", problem });
  }

  /** Joins; a server that has bound its port and still loads its model is asked again. */
  async #joinOnceStarted() {
    const since = performance.now();
    for (;;) {
      try {
        await this.#join();
        return;
      } catch (error) {
        const soon = error instanceof RequestError && ["starting", ...PLACING].includes(error.code);
        if (this.ended || !soon || performance.now() - since > GIVE_UP_AFTER_MS) throw error;
        this.signalling.close();
        await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      }
    }
  }

  async #join() {
    this.token ??= await this.askToken(this.who.room);
    const fields = { room: this.who.room, name: this.who.name, client: "page", ...(this.resume === null ? {} : { resume: this.resume }) };
    const moved = this.movedTo;
    this.movedTo = null; // where that node does not answer, the others know better
    const { answer, node } = await joinRoom(this.signalling, window.location, moved, this.token ?? "", fields);
    if (this.ended) return;
    this.resume = answer.resume ?? null;
    this.self = answer.participant;
    this.events.dispatch({
      type: "joined",
      participant: answer.participant,
      resume: this.resume,
      roster: answer.roster,
      recording: answer.recording === true,
      mayRecord: answer.may_record === true,
    });
    if (answer.speaking !== undefined) this.events.dispatch({ type: "speaking", participant: answer.speaking });
    if (answer.overloaded) this.events.onProblem(OVERLOADED);
    // The server keeps what a resumed participant watched; all of it is asked for anew.
    const outlived = answer.resumed ? (this.call?.subscriptionIds() ?? []) : [];
    this.#closeCall();
    for (const subscription of outlived) void this.signalling.request("unsubscribe", { subscription }).catch(() => undefined);
    const place = { room: this.who.room, participant: answer.participant, token: this.token, node };
    const call = new Call((type, fields) => this.signalling.request(type, fields), answer.ice_servers ?? [], place, {
      onStream: this.events.onStream,
      onSubscribed: this.events.onSubscribed,
      onProblem: this.events.onProblem,
      onMotionRefused: this.events.onMotionRefused,
      onScreenRefused: (problem) => {
        this.events.onProblem(`Your screen cannot be shared: ${problem}`);
        this.shareScreen(null);
      },
    });
    this.call = call;
    if (this.screen !== null) void call.share(this.screen);
    this.sentState = null;
    void this.#sendState();
    const { microphone, camera } = this.devices;
    if (microphone || camera) void call.publish(this.#sent());
    this.#follow(answer.roster);
  }

  /** @param {any} message */
  #onEvent(message) {
    switch (message.type) {
      case "roster":
        this.events.dispatch({ type: "roster", participants: message.participants });
        this.#follow(message.participants);
        break;
      case "speaking":
        this.events.dispatch({ type: "speaking", participant: message.participant });
        break;
      case "recording":
        this.events.dispatch({ type: "recording", recording: message.recording === true });
        break;
      case "load":
        this.events.onProblem(message.overloaded ? OVERLOADED : "The server has caught up.");
        break;
      case "ended":
        this.call?.ended(message.subscription);
        break;
      case "resume":
        this.resume = message.resume;
        break;
      case "mute":
        this.events.onMuted(message.muted === true);
        break;
      case "closed":
        this.#onClosed(message.reason, message.address);
        break;
    }
  }

  /**
   * The server is about to close the socket. A shutdown may be a restart, and silence may have been our network's: from all
   * but a few reasons the page comes back by itself.
   * @param {string} reason
   * @param {string} [address] of the node that the room moved to
   */
  #onClosed(reason, address) {
    const words = FINAL.get(reason);
    if (words !== undefined) this.leave(words);
    if (reason === "moved") this.movedTo = nodeAddress(window.location, address);
  }

  /** @param {import("./state.js").Participant[]} roster */
  #follow(roster) {
    this.call?.follow(roster.filter((participant) => participant.id !== this.self && participant.owner !== this.self));
    const own = roster.find((participant) => participant.id === this.self);
    // The connection to the server is there, so it is our media that it lost; a camera just turned on needs a moment, though.
    const lost = own !== undefined && own.kind !== "none" && signalLost(own);
    if (lost) this.lostTimer ??= setTimeout(() => this.call?.republish(), REPUBLISH_AFTER_MS);
    else this.#forgetLoss();
  }

  #forgetLoss() {
    clearTimeout(this.lostTimer);
    this.lostTimer = undefined;
  }

  async #comeBack() {
    if (this.ended) return;
    this.events.dispatch({ type: "lost" });
    const since = performance.now();
    let refusals = 0;
    let wait = this.movedTo === null ? backoffMs(0, Math.random()) : 0;
    for (let attempt = 1; !this.ended; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (this.ended) return;
      try {
        await this.#join();
        return;
      } catch (error) {
        this.signalling.close();
        const code = error instanceof RequestError ? error.code : "";
        const passing = PASSING.includes(code);
        wait = PLACING.includes(code) ? ASK_AGAIN_MS : backoffMs(attempt, Math.random());
        if (!passing || performance.now() - since > GIVE_UP_AFTER_MS) {
          this.leave(error instanceof Error ? error.message : "The connection could not be brought back.");
        } else if (code === "unreachable" && (await this.#refused())) {
          refusals += 1;
          if (refusals >= REFUSALS) await this.#startAfresh();
        }
      }
    }
  }

  /** Whether the token is what the server did not take. */
  async #refused() {
    return refusesToken(window.location, this.token ?? "");
  }

  /** A server that restarted in development mode knows neither our token nor us: come as somebody new. */
  async #startAfresh() {
    const fresh = await this.askToken(this.who.room).catch(() => null);
    if (fresh === this.token) this.leave("The server does not accept this link any more.");
    this.token = fresh;
    this.resume = null;
  }

  async #sendState() {
    if (this.call === null || !this.signalling.connected) return;
    const { microphone, camera } = this.devices;
    const fields = { muted: !microphone?.enabled, camera_off: camera === null };
    const key = JSON.stringify(fields);
    if (key === this.sentState) return;
    this.sentState = key;
    await this.signalling.request("state", fields).catch((error) => this.events.onProblem(error.message));
  }

  #closeCall() {
    this.#forgetLoss();
    this.call?.close();
    this.call = null;
  }
}
