// @ts-check
/**
 * How one's own face is sent: as motion, or as the camera's picture. A person chooses; the page falls back to the picture by itself
 * where motion cannot be sent, and says why.
 */
import { MotionCamera } from "./motion/motion_camera.js";
import { Preview } from "./preview.js";
import { remember, remembered } from "./remembered.js";

/**
 * @typedef {import("./call.js").Call} Call
 * @typedef {"motion" | "camera"} Way
 *
 * @typedef {object} SendingView what the lobby shows
 * @property {Way} way
 * @property {boolean} offered whether motion can be chosen at all
 * @property {string | null} problem why motion is not sent, in words
 * @property {"loading" | "searching" | "choosing" | "shown"} step of sending motion
 * @property {boolean} several whether somebody else is seen
 * @property {MediaStream | null} face as others see it
 * @property {string | null} faceProblem why the server does not show it
 * @property {number | null} kbps motion with all headers
 * @property {number | null} milliseconds of a frame
 */

const NOT_SET_UP = "This server was set up without what a browser needs to send motion.";

export class Sending {
  /**
   * @param {boolean} offered whether the server has what is needed
   * @param {(room: string) => Promise<string | null>} token
   * @param {() => Call | null} call the call that one is in
   * @param {() => void} onChange
   */
  constructor(offered, token, call, onChange) {
    this.offered = offered;
    this.token = token;
    this.call = call;
    this.onChange = onChange;
    /** @type {Way} */
    this.wanted = remembered("sending") === "camera" ? "camera" : "motion";
    /** @type {Preview | null} */
    this.preview = null;
    /** @type {MediaStream | null} */
    this.face = null;
    /** Room of the preview; null outside the lobby. @type {string | null} */
    this.room = null;
    this.camera = new MotionCamera({
      onChange: () => {
        this.#link()?.updatePresence();
        onChange();
      },
      onMotion: (sample) => this.#link()?.publish(sample),
      onSource: (source) => {
        if (this.room !== null && (this.preview === null || this.preview.ended)) this.#show(this.room);
        else void this.#link()?.offer(source);
      },
      onWindow: (window) => this.#link()?.offerWindow(window),
    });
  }

  /** @returns {Way} */
  get way() {
    return this.wanted === "motion" && this.offered && this.camera.state !== "failed" ? "motion" : "camera";
  }

  /** @returns {MotionCamera | null} the camera as motion, where that is what is sent */
  motion() {
    return this.way === "motion" ? this.camera : null;
  }

  /** @param {MediaStreamTrack | null} track of the camera */
  setTrack(track) {
    this.camera.setTrack(track);
    if (track !== null && this.way === "motion") this.camera.start();
  }

  /** @param {Way} way */
  choose(way) {
    this.wanted = way;
    remember("sending", way);
    this.#closePreview();
    this.camera.stop(); // also forgets why it failed: the person asks for another attempt
    if (way === "motion" && this.offered && this.camera.track !== null) this.camera.start();
    this.onChange();
  }

  /** @param {string} problem why the server does not take motion, in words */
  refused(problem) {
    this.camera.fail(problem);
  }

  takeAnotherPicture() {
    this.camera.takeAnotherPicture();
  }

  /**
   * In the lobby of this room the own face is shown as others will see it; elsewhere (null) it is not.
   * @param {string | null} room
   */
  lobby(room) {
    const entered = this.room === null && room !== null;
    this.room = room; // another name that is typed changes nothing: the face looks the same in any room
    if (room === null) this.#closePreview();
    else if (entered && this.motion() !== null && this.camera.sources.size > 0) this.#show(room);
  }

  /** @returns {SendingView} */
  view() {
    const { camera } = this;
    const link = this.#link();
    return {
      way: this.way,
      offered: this.offered,
      problem: this.wanted === "camera" ? null : this.offered ? camera.problem : NOT_SET_UP,
      step: camera.state !== "ready" ? "loading" : !camera.present ? "searching" : camera.shown ? "shown" : "choosing",
      several: camera.several,
      face: this.way === "motion" && camera.shown ? this.face : null,
      faceProblem: this.preview?.problem ?? null,
      kbps: link?.publisher.frames ? link.wireKbps : null,
      milliseconds: camera.steps["frame"] ?? null,
    };
  }

  /** Where motion goes now. */
  #link() {
    return this.call()?.link ?? this.preview?.call?.link ?? null;
  }

  /** @param {string} room */
  #show(room) {
    this.preview = new Preview(room, this.token, this.camera, (stream) => {
      this.face = stream;
      this.onChange();
    });
    void this.preview.start().then(this.onChange);
  }

  #closePreview() {
    this.preview?.close();
    this.preview = null;
    this.face = null;
  }
}
