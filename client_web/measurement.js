// @ts-check
/** Once a second, while in a call: asks the server for its statistics, reads getStats, and feeds the numbers panel. */
import { between, snapshot } from "./media_statistics.js";
import { others } from "./state.js";
import { sentSoFar, uplinkBetween } from "./uplink.js";

/**
 * @typedef {import("./media_statistics.js").Snapshot} Snapshot
 * @typedef {import("./media_statistics.js").Received} Received
 * @typedef {import("./session.js").Session} Session
 * @typedef {import("./uplink.js").Sent} Sent
 * @typedef {import("./uplink.js").Uplink} Uplink
 */

const EVERY_MS = 1000;
const REPORT_EVERY = 5;

export class Measurement {
  /**
   * @param {ReturnType<import("./call_view.js").createCallView>} view
   * @param {() => Session | null} session
   * @param {(participants: {[id: string]: any}) => void} onStatistics
   * @param {() => import("./state.js").State} state
   */
  constructor(view, session, onStatistics, state) {
    this.view = view;
    this.session = session;
    this.onStatistics = onStatistics;
    this.state = state;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    /** @type {Map<RTCPeerConnection, Snapshot>} */
    this.earlier = new Map();
    /** @type {Map<string, Received>} */
    this.received = new Map();
    /** Of one's own motion, by the link that sends it. @type {{link: object, sent: Sent} | null} */
    this.sentEarlier = null;
    /** @type {Uplink | null} */
    this.uplink = null;
    this.rounds = 0;
    this.busy = false;
  }

  start() {
    this.stop();
    this.timer = setInterval(() => void this.#round(), EVERY_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.earlier.clear();
    this.received.clear();
    this.sentEarlier = this.uplink = null;
  }

  /** Draws what is known, without waiting for the next round. */
  now() {
    const session = this.session();
    const state = this.state();
    if (!state.numbers || session === null) return;
    const measured = others(state).map((participant) => ({
      participant,
      server: state.statistics[participant.id],
      received: this.received.get(participant.id) ?? null,
      displayMs: this.view.grid.tile(participant.id)?.display.median() ?? null,
      toScreen: this.view.grid.tile(participant.id)?.toScreen.figure(performance.now()) ?? null,
      framesAreNamed: this.view.grid.tile(participant.id)?.toScreen.possible ?? "not yet",
    }));
    const steps = session.call?.link?.camera.steps;
    const own = this.uplink === null ? null : { uplink: this.uplink, frameMs: steps?.["frame"] ?? null };
    this.view.numbers.update(own, measured, session.signalling.clock.best());
  }

  async #round() {
    const session = this.session();
    // A slow round is not overtaken by the next one.
    if (session === null || session.call === null || !session.signalling.connected || this.busy) return;
    this.busy = true;
    try {
      const subscriptions = [...session.call.subscriptions.values()];
      const reports = ++this.rounds % REPORT_EVERY === 0;
      const answer = await session.signalling.request("statistics");
      await Promise.all([this.#measureUplink(session.call), ...subscriptions.map(({ participant, connection }) => this.#measure(participant, connection))]);
      // Times of single frames are much to send: only while the panel is open, and for the reports.
      if (this.state().numbers || reports) await this.#followFrames(session);
      this.#forget(subscriptions.map(({ connection }) => connection));
      this.onStatistics(answer.participants ?? {});
      this.now();
      if (reports) await this.#report(session);
    } catch {
      // the connection broke in between; the session handles that
    } finally {
      this.busy = false;
    }
  }

  /**
   * @param {string} participant
   * @param {RTCPeerConnection} connection
   */
  async #measure(participant, connection) {
    if (connection.connectionState !== "connected") return;
    const now = snapshot(/** @type {any} */ (await connection.getStats()).values(), performance.now());
    const before = this.earlier.get(connection);
    this.earlier.set(connection, now);
    if (before) this.received.set(participant, between(before, now));
  }

  /** @param {import("./call.js").Call} call */
  async #measureUplink({ publisher, link }) {
    if (publisher === null || link === null || publisher.connectionState !== "connected") {
      this.sentEarlier = this.uplink = null;
      return;
    }
    const report = /** @type {any} */ (await publisher.getStats()).values();
    const sent = sentSoFar(report, link.publisher, performance.now());
    this.uplink = this.sentEarlier?.link === link ? uplinkBetween(this.sentEarlier.sent, sent) : null;
    this.sentEarlier = { link, sent };
  }

  /**
   * Asks which frames were sent when, and lets each tile find those that it showed.
   * @param {Session} session
   */
  async #followFrames(session) {
    const { subscriptions } = await session.signalling.request("frames");
    const offset = session.signalling.clock.best()?.offset ?? null;
    for (const { participant, id } of session.call?.subscriptions.values() ?? []) {
      const frames = id === null ? undefined : subscriptions?.[id];
      if (frames) this.view.grid.tile(participant)?.toScreen.onCaptured(frames, offset);
    }
  }

  /** @param {RTCPeerConnection[]} present */
  #forget(present) {
    for (const connection of this.earlier.keys()) if (!present.includes(connection)) this.earlier.delete(connection);
    const ids = new Set(others(this.state()).map((participant) => participant.id));
    for (const id of this.received.keys()) if (!ids.has(id)) this.received.delete(id);
  }

  /** @param {Session} session */
  async #report(session) {
    for (const { participant, id, connection } of session.call?.subscriptions.values() ?? []) {
      const received = this.received.get(participant);
      const counters = this.earlier.get(connection);
      if (!id || !received || !counters) continue;
      const latency = this.view.grid.tile(participant)?.toScreen.figure(performance.now()) ?? null;
      await session.signalling.request("report", {
        subscription: id,
        fps: received.fps,
        freezes: received.freezes,
        lost: Math.max(0, counters.lost),
        ...(received.bufferMs === null ? {} : { jitter_ms: received.bufferMs }),
        ...(latency === null ? {} : { latency_ms: Math.max(0, latency.median) }),
      });
    }
  }
}
