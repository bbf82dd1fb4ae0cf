// @ts-check
/**
 * Peer connections of one call: one that publishes camera and microphone, one per participant that is watched. None is ever
 * renegotiated; a change is a new connection. All candidates travel inside the offer and the answer.
 */
import { MotionLink, motionTools } from "./motion/motion_link.js";
import { VoiceCarrier } from "./motion/voice_carrier.js";
import { askingForVoice, offeringTrailers, takesTrailers } from "./motion/voice_trailer.js";
import { backoffMs, RequestError } from "./signalling.js";
import { watchPlan } from "./state.js";

/**
 * @typedef {import("./state.js").Participant} Participant
 * @typedef {{yaw: number, pitch: number}} View
 * @typedef {(type: string, fields?: object) => Promise<any>} Request
 * @typedef {import("./motion/motion_camera.js").MotionCamera} MotionCamera
 * @typedef {import("./motion/motion_link.js").Place} Place
 *
 * @typedef {object} Sent what one publishes
 * @property {MediaStreamTrack | null} audio
 * @property {MediaStreamTrack | null} video the camera's picture
 * @property {MotionCamera | null} motion the camera as motion; then no picture is sent, and `video` is null
 *
 * @typedef {object} Subscription
 * @property {string} participant
 * @property {number} publication number of the publication that this shows
 * @property {RTCPeerConnection} connection
 * @property {string | null} id the server's name of it, once answered
 * @property {MediaStream} stream
 *
 * @typedef {object} CallEvents
 * @property {(participant: string, stream: MediaStream | null) => void} onStream a picture and sound to show, or none any more
 * @property {(participant: string) => void} onSubscribed a subscription has just been answered
 * @property {(problem: string) => void} onProblem something that a person should know
 * @property {(problem: string) => void} onScreenRefused the server does not take one's screen
 * @property {(problem: string) => void} onMotionRefused the server does not take motion, but may take the camera's picture
 */

const GATHERING_MS = 3000;
const CAMERA_BITS_PER_SECOND = 700_000;
/** Of a screen: letters want bits when they change, and nearly none while they stand. */
const SCREEN_BITS_PER_SECOND = 1_500_000;
/** Codes of a server that does not take motion, and what they say. */
const MOTION_REFUSED = new Map([
  ["capacity", "The server has no time to render one more face."],
  ["weights", "The server has another model than this page. Load the page again."],
]);

/**
 * Waits until all candidates are known, at most `limitMs`: what was found by then is offered.
 * @param {RTCPeerConnection} connection
 * @param {number} [limitMs]
 * @returns {Promise<void>}
 */
export function gathered(connection, limitMs = GATHERING_MS) {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, limitMs);
    function done() {
      clearTimeout(timer);
      connection.removeEventListener("icegatheringstatechange", changed);
      resolve();
    }
    function changed() {
      if (connection.iceGatheringState === "complete") done();
    }
    connection.addEventListener("icegatheringstatechange", changed);
  });
}

/**
 * Offers, asks, and applies the answer.
 * @param {RTCPeerConnection} connection
 * @param {(sdp: string) => Promise<any>} ask
 * @param {(sdp: string) => string} [heed] the answer as the browser is to have it
 */
async function negotiate(connection, ask, heed = (sdp) => sdp) {
  await connection.setLocalDescription(await connection.createOffer());
  await gathered(connection);
  const answer = await ask(connection.localDescription?.sdp ?? "");
  if (connection.signalingState === "closed") return answer;
  await connection.setRemoteDescription({ type: "answer", sdp: heed(answer.sdp) });
  return answer;
}

export class Call {
  /**
   * @param {Request} request
   * @param {RTCIceServer[]} iceServers
   * @param {Place} place where source images are put
   * @param {CallEvents} events
   */
  constructor(request, iceServers, place, events) {
    this.request = request;
    this.iceServers = iceServers;
    this.place = place;
    this.events = events;
    this.closed = false;
    /** @type {RTCPeerConnection | null} */
    this.publisher = null;
    /** @type {{audio: RTCRtpSender, video: RTCRtpSender | null} | null} */
    this.senders = null;
    /** What was published last. @type {Sent} */
    this.sent = { audio: null, video: null, motion: null };
    /** @type {MotionLink | null} */
    this.link = null;
    this.republishing = false;
    /** The connection on which one's screen is shared. @type {RTCPeerConnection | null} */
    this.screen = null;
    /** @type {Map<string, Subscription>} by participant */
    this.subscriptions = new Map();
    /** @type {Map<string, number>} failed attempts in a row, by participant; "" is one's own publisher, "screen" one's screen */
    this.failures = new Map();
    /** @type {readonly Participant[]} */
    this.remote = [];
  }

  /**
   * Publishes. Sound and the camera's picture are always offered, so that a device which comes later needs no new connection;
   * with motion there is no video section at all: no picture of the camera can leave by this connection.
   * @param {Sent} sent
   */
  async publish(sent) {
    this.sent = sent;
    this.#closePublisher();
    const connection = this.#connect();
    this.publisher = connection;
    try {
      const [tools, carrier] = sent.motion === null ? [null, null] : await Promise.all([motionTools(), VoiceCarrier.start()]);
      if (this.closed || this.publisher !== connection) {
        carrier?.close();
        return;
      }
      this.senders = {
        audio: connection.addTransceiver(sent.audio ?? "audio", { direction: "sendonly" }).sender,
        video:
          tools === null
            ? connection.addTransceiver(sent.video ?? "video", { direction: "sendonly", sendEncodings: [{ maxBitrate: CAMERA_BITS_PER_SECOND }] }).sender
            : null,
      };
      carrier?.attach(this.senders.audio);
      if (tools !== null && sent.motion !== null) this.link = new MotionLink(connection, sent.motion, carrier, this.place, tools, this.events.onProblem);
    } catch (error) {
      if (this.closed || this.publisher !== connection) return;
      this.events.onProblem(`Others cannot see or hear you: ${message(error)}`);
      return;
    }
    this.#whenFailed(connection, () => {
      if (this.publisher === connection) this.republish();
    });
    try {
      if (this.link === null) await negotiate(connection, (sdp) => this.request("publish", { sdp }));
      else await this.#negotiateVoice(connection, this.link);
      this.failures.delete("");
    } catch (error) {
      if (this.closed || this.publisher !== connection) return;
      connection.close();
      this.publisher = null;
      const code = error instanceof RequestError ? error.code : "";
      const refused = sent.motion === null ? undefined : MOTION_REFUSED.get(code);
      if (code === "timeout") this.republish();
      else if (refused !== undefined) this.events.onMotionRefused(refused);
      // Without a connection to the server another call takes this one's place as soon as there is one, and publishes anew.
      else if (code !== "disconnected") this.events.onProblem(`Others cannot see or hear you: ${message(error)}`);
    }
  }

  /**
   * Beside motion the sound is a voice of few and small packets, and motion travels behind them where browser and server can.
   * @param {RTCPeerConnection} connection
   * @param {MotionLink} link
   */
  async #negotiateVoice(connection, link) {
    await negotiate(
      connection,
      (sdp) => this.request("publish", { sdp: link.carrier === null ? sdp : offeringTrailers(sdp), weights: link.weights }),
      (sdp) => {
        if (takesTrailers(sdp)) link.ride();
        return askingForVoice(sdp);
      },
    );
  }

  /** Publishes again what was published, after a while: the server lost it, or never answered. */
  republish() {
    const senders = this.senders;
    if (senders === null || this.republishing) return;
    this.republishing = true;
    this.#again("", async () => {
      this.republishing = false;
      await this.publish({ ...this.sent, audio: senders.audio.track, video: senders.video?.track ?? null });
    });
  }

  /**
   * Shares a screen beside what is published, on a connection of its own.
   * @param {MediaStream} stream
   */
  async share(stream) {
    this.#closeScreen();
    const [picture] = stream.getVideoTracks();
    const [sound] = stream.getAudioTracks();
    if (picture === undefined || picture.readyState === "ended") return;
    const connection = this.#connect();
    this.screen = connection;
    connection.addTransceiver(picture, { direction: "sendonly", sendEncodings: [{ maxBitrate: SCREEN_BITS_PER_SECOND }] });
    if (sound !== undefined) connection.addTransceiver(sound, { direction: "sendonly" });
    const again = () => {
      if (this.screen !== connection) return;
      this.#again("screen", async () => {
        if (this.screen === connection) await this.share(stream);
      });
    };
    this.#whenFailed(connection, again);
    try {
      await negotiate(connection, (sdp) => this.request("share", { sdp }));
      this.failures.delete("screen");
    } catch (error) {
      if (this.closed || this.screen !== connection) return;
      const code = error instanceof RequestError ? error.code : "";
      if (code === "timeout") again();
      // Another call takes this one's place, and shares anew.
      else if (code !== "disconnected") this.events.onScreenRefused(message(error));
    }
  }

  /** Shares no screen any more. */
  async unshare() {
    if (this.screen === null) return;
    this.#closeScreen();
    await this.request("unshare").catch(() => undefined);
  }

  /**
   * Exchanges the tracks that are sent, without a new connection; publishes where nothing is published yet, and where motion takes
   * the place of the picture or the other way round.
   * @param {Sent} sent
   */
  async send(sent) {
    if (this.closed) return;
    const { audio, video, motion } = sent;
    if (this.senders === null || this.publisher === null) {
      if (audio !== null || video !== null || motion !== null) await this.publish(sent);
      return;
    }
    if (motion !== this.sent.motion) {
      await this.publish(sent);
      return;
    }
    this.link?.updatePresence();
    if (this.senders.audio.track !== audio) await this.senders.audio.replaceTrack(audio);
    if (this.senders.video !== null && this.senders.video.track !== video) await this.senders.video.replaceTrack(video);
  }

  /**
   * Watches exactly those who publish.
   * @param {readonly Participant[]} remote everybody but oneself
   */
  follow(remote) {
    this.remote = remote;
    const watched = new Map([...this.subscriptions.values()].map(({ participant, publication }) => [participant, publication]));
    const plan = watchPlan(watched, remote);
    for (const id of plan.stop) this.#unwatch(id);
    for (const participant of plan.start) {
      const outlived = this.subscriptions.get(participant.id);
      if (outlived) this.#drop(outlived);
      void this.#watch(participant.id, participant.publication);
    }
  }

  /**
   * @param {string} participant
   * @param {View} view degrees
   */
  async turn(participant, view) {
    const subscription = this.subscriptions.get(participant)?.id;
    if (subscription) await this.request("view", { subscription, yaw: view.yaw, pitch: view.pitch });
  }

  /**
   * The server ended a subscription; it is asked for again, unless the roster has nothing left to watch.
   * @param {string} id the server's name of it
   */
  ended(id) {
    for (const subscription of this.subscriptions.values()) {
      if (subscription.id !== id) continue;
      subscription.id = null;
      this.#rewatch(subscription);
    }
  }

  /** @returns {string[]} the server's names of what is watched */
  subscriptionIds() {
    return [...this.subscriptions.values()].map(({ id }) => id).filter((id) => id !== null);
  }

  /** Closes every connection; nothing is called back afterwards. */
  close() {
    this.closed = true;
    this.#closePublisher();
    this.#closeScreen();
    for (const { connection } of this.subscriptions.values()) connection.close();
    this.subscriptions.clear();
  }

  #closeScreen() {
    this.screen?.close();
    this.screen = null;
  }

  #closePublisher() {
    this.link?.close();
    this.link = null;
    this.publisher?.close();
    this.publisher = null;
    this.senders = null;
  }

  /**
   * @param {string} participant
   * @param {number} publication
   */
  async #watch(participant, publication) {
    const connection = this.#connect();
    /** @type {Subscription} */
    const subscription = { participant, publication, connection, id: null, stream: new MediaStream() };
    this.subscriptions.set(participant, subscription);
    connection.addTransceiver("video", { direction: "recvonly" });
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addEventListener("track", (event) => {
      subscription.stream.addTrack(event.track);
      if (this.#current(subscription)) this.events.onStream(participant, subscription.stream);
    });
    this.#whenFailed(connection, () => this.#rewatch(subscription));
    try {
      const answer = await negotiate(connection, (sdp) => this.request("subscribe", { participant, sdp }));
      if (!this.#current(subscription)) {
        if (!this.closed) void this.request("unsubscribe", { subscription: answer.subscription }).catch(() => undefined);
        return;
      }
      subscription.id = answer.subscription;
      this.failures.delete(participant);
      this.events.onSubscribed(participant);
    } catch {
      this.#rewatch(subscription);
    }
  }

  /** @param {string} participant */
  #unwatch(participant) {
    const subscription = this.subscriptions.get(participant);
    if (!subscription) return;
    this.failures.delete(participant);
    this.#drop(subscription);
    this.events.onStream(participant, null);
  }

  /**
   * Ends one subscription; the server may have ended it before us.
   * @param {Subscription} subscription
   */
  #drop(subscription) {
    if (this.subscriptions.get(subscription.participant) === subscription) this.subscriptions.delete(subscription.participant);
    subscription.connection.close();
    if (subscription.id) void this.request("unsubscribe", { subscription: subscription.id }).catch(() => undefined);
    subscription.id = null;
  }

  /** @param {Subscription} subscription */
  #rewatch(subscription) {
    if (!this.#current(subscription)) return;
    this.#drop(subscription);
    // Stays in the map while it waits, so that a roster in between does not start a second attempt.
    this.subscriptions.set(subscription.participant, subscription);
    this.#again(subscription.participant, async () => {
      if (!this.#current(subscription)) return;
      this.subscriptions.delete(subscription.participant);
      this.follow(this.remote);
    });
  }

  /** @param {Subscription} subscription */
  #current(subscription) {
    return !this.closed && this.subscriptions.get(subscription.participant) === subscription;
  }

  /**
   * Tries again after a while that grows with the failures in a row.
   * @param {string} key
   * @param {() => Promise<void>} attempt
   */
  #again(key, attempt) {
    const failures = this.failures.get(key) ?? 0;
    this.failures.set(key, failures + 1);
    setTimeout(() => {
      if (!this.closed) void attempt();
    }, backoffMs(failures, Math.random()));
  }

  #connect() {
    return new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: "max-bundle" });
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {() => void} then
   */
  #whenFailed(connection, then) {
    connection.addEventListener("connectionstatechange", () => {
      if (connection.connectionState === "failed" && !this.closed) then();
    });
  }
}

/** @param {unknown} error */
function message(error) {
  return error instanceof Error ? error.message : String(error);
}
