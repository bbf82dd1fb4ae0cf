// @ts-check
/**
 * "How others see you": a stay of its own, in nobody's roster, in which the page publishes its motion and watches the face that
 * the server renders of it. Runs in the lobby alone.
 */
import { Call } from "./call.js";
import { joinRoom, Signalling } from "./signalling.js";

/** @typedef {import("./motion/motion_camera.js").MotionCamera} MotionCamera */

/** Who leaves the lobby open does not keep the server rendering; another picture begins anew. */
const LONGEST_MS = 180_000;

export class Preview {
  /**
   * @param {string} room
   * @param {(room: string) => Promise<string | null>} token
   * @param {MotionCamera} camera
   * @param {(stream: MediaStream | null) => void} onStream the rendered face, or none any more
   */
  constructor(room, token, camera, onStream) {
    this.room = room;
    this.token = token;
    this.camera = camera;
    this.onStream = onStream;
    this.ended = false;
    /** @type {Call | null} */
    this.call = null;
    /** Why there is none, in words. @type {string | null} */
    this.problem = null;
    this.signalling = new Signalling({ onEvent: () => undefined, onLost: () => this.close() });
    this.timer = setTimeout(() => this.close(), LONGEST_MS);
  }

  /** Joins, publishes and watches; a failure is kept in `problem`, and the face is then seen by others alone. */
  async start() {
    try {
      const token = await this.token(this.room);
      const who = { room: this.room, name: "Preview", client: "page", preview: true };
      const { answer, node } = await joinRoom(this.signalling, window.location, null, token ?? "", who);
      if (this.ended) return;
      const place = { room: this.room, participant: answer.participant, token, node };
      const call = new Call((type, fields) => this.signalling.request(type, fields), answer.ice_servers ?? [], place, {
        onStream: (_participant, stream) => this.onStream(stream),
        onSubscribed: () => undefined,
        onProblem: (problem) => (this.problem = problem),
        onMotionRefused: (problem) => (this.problem = problem),
      });
      this.call = call;
      await call.publish({ audio: null, video: null, motion: this.camera });
      if (this.ended) return;
      const own = { id: answer.participant, name: "", kind: /** @type {const} */ ("motion"), muted: true, camera_off: false, avatar: false };
      call.follow([{ ...own, state: "live", publication: 1 }]);
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      this.close();
    }
  }

  close() {
    if (this.ended) return;
    this.ended = true;
    clearTimeout(this.timer);
    if (this.signalling.connected) void this.signalling.request("leave").catch(() => undefined);
    this.call?.close();
    this.call = null;
    this.signalling.close();
    this.onStream(null);
  }
}
