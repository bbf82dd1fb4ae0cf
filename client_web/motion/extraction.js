// @ts-check
/**
 * From a camera's frame to motion, one person at a time: landmarks, crop, extractor, source images, windows
 * (`model/frame_extractor.py`, `server/sender/media/extraction.py`). Background and body are registered with the source image in each
 * frame, keypoints and residual flow in some, by somebody else.
 */
import { BackgroundTracker } from "./background.js";
import { BodyTracker } from "./body.js";
import { CallWindows, lookOf } from "./call_windows.js";
import { cropMotion, cut, planes } from "./crop.js";
import { SURE } from "./detector.js";
import { CropFollower, faceOfLandmarks } from "./head_crop.js";
import { LandmarkTracker, measure } from "./landmark_tracker.js";
import { BACKGROUND, EXPRESSION, facePoints, following, stillPoints, withCanonical, withFace } from "./motion.js";
import { regionOfLandmarks } from "./region.js";
import { GreyPyramid } from "./similarity.js";
import { eyeOpenness, quality, SourceSelection } from "./source_choice.js";

/** @typedef {import("./region.js").Frame} Frame */
/** @typedef {import("./crop.js").Crop} Crop */
/** @typedef {import("./detector.js").Network} Network */
/** @typedef {import("./source_choice.js").Source} Source */
/** @typedef {import("./source_choice.js").Candidate} Candidate */

/**
 * @typedef {object} Model networks and what their numbers mean
 * @property {{detector: Network, landmarks: Network, motion: Network, canonical: Network}} networks
 * @property {number} size side of a crop, pixels
 * @property {number} keypoints
 * @property {number} body how many of them follow the body; they come last
 * @property {number[]} guided the landmarks that are the face's keypoints, which come first
 * @property {number[]} still
 *
 * @typedef {Pick<import("./alignment_link.js").AlignmentLink, "follow">} Aligner
 *
 * @typedef {object} Extracted what a frame gave
 * @property {boolean} present whether there is a face, or was one a moment ago
 * @property {boolean} several whether somebody else is seen as well
 * @property {{vector: Float32Array, source: number} | null} motion for a source that the receiver has
 * @property {{index: number, scene: number, picture: Frame} | null} offer a source image that the receiver should get
 *
 * @typedef {import("./call_windows.js").ChosenWindow & {scene: number, captured: number}} WindowOffer a window that the receiver should get;
 *   captured: seconds
 */

/** Without a face for that long, the sender pauses. */
const PATIENCE_SECONDS = 1;
/** Seconds that are taken for the time before the first frame, and at most between two. */
const FIRST_STEP = 1 / 30;
const LONGEST_STEP = 0.5;
/** Of so many frames the motion extractor sees one, while landmarks are there: between two the head follows them. */
const HEAD_EVERY = 2;
/** Somebody as tall as this share of the face that is sent counts. */
const SEVERAL_HEIGHT = 0.6;

export class Extraction {
  /**
   * @param {Model} model
   * @param {Aligner | null} aligner
   * @param {number} scene of the sources that are chosen
   */
  constructor(model, aligner = null, scene = 0) {
    this.model = model;
    this.aligner = aligner;
    this.scene = scene;
    this.windows = new CallWindows(model.guided);
    /** The last frame, where its face was measured. @type {{picture: Frame, motion: Float32Array<ArrayBuffer>, captured: number} | null} */
    this.measured = null;
    const { networks, keypoints, body } = model;
    this.tracker = new LandmarkTracker(networks.landmarks, networks.detector);
    this.follower = new CropFollower();
    this.selection = new SourceSelection(keypoints - body);
    this.background = new BackgroundTracker();
    /** Of the source that is driven. @type {{source: Source, tracker: BodyTracker} | null} */
    this.body = null;
    /** Of the last frame that was registered. @type {Crop | null} */
    this.cropBefore = null;
    /** Of the first frame: what extracted motion is relative to. @type {Float32Array | null} */
    this.canonical = null;
    /**
     * The last frame that the motion extractor saw, while landmarks followed, and the frames since.
     * @type {{crop: Crop, motion: Float32Array<ArrayBuffer>, still: Float32Array} | null}
     */
    this.seen = null;
    this.since = 0;
    /** Expression of the last face that was measured. @type {Float32Array | null} */
    this.expression = null;
    /** @type {number | null} */
    this.captured = null;
    this.unseen = Infinity;
  }

  /**
   * Chooses source images and windows anew; the face stays.
   * @param {number} scene
   */
  forgetSources(scene) {
    this.scene = scene;
    this.windows.cut();
    this.selection = new SourceSelection(this.model.keypoints - this.model.body);
  }

  /**
   * Everything for one frame; frames in order, one at a time.
   * @param {Frame} frame
   * @param {number} captured seconds
   * @returns {Promise<Extracted>}
   */
  async step(frame, captured) {
    const elapsed = this.captured === null ? FIRST_STEP : Math.min(Math.max(captured - this.captured, 0), LONGEST_STEP);
    this.captured = captured;
    const landmarks = await this.tracker.update(frame, captured);
    const crop = this.#crop(frame, landmarks, elapsed);
    this.measured = null;
    const several = this.#several();
    if (crop === null) return { present: false, several, motion: null, offer: null };
    const picture = cut(crop, frame, this.model.size);
    const motion = await this.#extract(picture, crop, landmarks);
    if (landmarks !== null) this.measured = { picture, motion, captured };
    const small = new GreyPyramid(picture);
    this.#register(small, motion, crop);
    const offer = await this.#select(picture, small, motion, landmarks !== null, captured);
    return { present: true, several, motion: this.#driving(small, motion, captured), offer };
  }

  /**
   * A window of the last frame where that is worth it; to be called once its motion has been told. `windowSent` answers, or nothing.
   * @returns {WindowOffer | null}
   */
  chooseWindow() {
    const { canonical, scene } = this;
    const look = this.selection.current?.look;
    if (this.measured === null || canonical === null || look === undefined || !this.windows.looks(this.measured.captured)) return null;
    const { picture, motion, captured } = this.measured;
    const chosen = this.windows.update({ picture, canonical, motion }, look, captured);
    return chosen && { ...chosen, scene, captured };
  }

  /**
   * @param {WindowOffer} offered
   * @param {number} bytes
   * @returns {boolean} whether its source images are still those that are sent
   */
  windowSent(offered, bytes) {
    if (offered.scene !== this.scene) return false;
    this.windows.sent(offered, bytes, offered.captured);
    return true;
  }

  /**
   * The head's crop, or null while there is no face to send.
   * @param {Frame} frame
   * @param {Float32Array | null} landmarks
   * @param {number} elapsed
   */
  #crop({ width, height }, landmarks, elapsed) {
    const lost = this.unseen > PATIENCE_SECONDS;
    this.unseen = landmarks === null ? this.unseen + elapsed : 0;
    if (landmarks === null && this.unseen > PATIENCE_SECONDS) return null;
    const face = landmarks === null ? null : faceOfLandmarks(landmarks);
    if (face !== null && lost) this.follower.jump(face);
    return this.follower.follow(face, elapsed, width, height);
  }

  #several() {
    const sure = this.tracker.faces.filter(({ score }) => score >= SURE).map(({ height }) => height);
    const tallest = Math.max(...sure);
    return sure.filter((height) => height >= SEVERAL_HEIGHT * tallest).length > 1;
  }

  /**
   * Motion of a crop; where no face can be measured, as behind a hand, its last expression is held.
   * @param {Frame} picture
   * @param {Crop} crop
   * @param {Float32Array | null} landmarks
   * @returns {Promise<Float32Array<ArrayBuffer>>}
   */
  async #extract(picture, crop, landmarks) {
    const { guided } = this.model;
    let motion = await this.#head(picture, crop, landmarks);
    const end = EXPRESSION + 3 * guided.length;
    if (landmarks !== null && this.canonical !== null) {
      motion = withFace(motion, this.canonical, facePoints(landmarks, crop, this.model));
      this.expression = motion.slice(EXPRESSION, end);
    } else if (this.expression !== null) motion.set(this.expression, EXPRESSION);
    return motion;
  }

  /**
   * What the motion extractor says of a crop, or said of one a frame ago whose head has followed its landmarks since.
   * @param {Frame} picture
   * @param {Crop} crop
   * @param {Float32Array | null} landmarks
   * @returns {Promise<Float32Array<ArrayBuffer>>}
   */
  async #head(picture, crop, landmarks) {
    const { networks, keypoints, body } = this.model;
    const still = landmarks === null ? null : stillPoints(landmarks, crop, this.model);
    this.since += 1;
    if (this.seen !== null && this.canonical !== null && still !== null && this.since < HEAD_EVERY && isSame(this.seen.crop, crop)) {
      return following(this.seen.motion, this.canonical, this.seen.still, still, keypoints - body);
    }
    const pixels = planes(picture);
    this.canonical ??= await networks.canonical(pixels);
    const motion = await networks.motion(pixels);
    this.seen = still === null ? null : { crop, motion, still };
    this.since = 0;
    return Float32Array.from(motion);
  }

  /**
   * Where the background lies in this frame.
   * @param {GreyPyramid} small
   * @param {Float32Array} motion
   * @param {Crop} crop
   */
  #register(small, motion, crop) {
    const before = this.cropBefore;
    const still = before === null || isSame(before, crop);
    const backdrop = this.selection.current?.reference.backdrop ?? null;
    this.background.follow(small, motion, backdrop, still ? null : cropMotion(before, crop));
    this.cropBefore = crop;
  }

  /**
   * This frame, or one of those before, as source image where one is wanted.
   * @param {Frame} picture
   * @param {GreyPyramid} small
   * @param {Float32Array<ArrayBuffer>} motion
   * @param {boolean} measured
   * @param {number} now
   */
  async #select(picture, small, motion, measured, now) {
    if (!this.selection.choosing && this.selection.current === null) return null; // offered, and not yet answered
    const canonical = /** @type {Float32Array} */ (this.canonical);
    // A face behind a hand counts as one with closed eyes: the last choice for a source image.
    const openness = measured ? eyeOpenness(canonical, motion, this.model.guided) : 0;
    const reference = { picture: small, motion, backdrop: this.background.backdrop() };
    const chosen = this.selection.choose({ picture, motion, quality: quality(picture, motion, openness), reference }, now);
    if (chosen === null) return null;
    const { selection, scene } = this; // that may be others before long
    const index = selection.offer(await this.#enrol(chosen));
    return { index, scene, picture: chosen.picture };
  }

  /**
   * What the model finds in a source image, as the receiver will find it.
   * @param {Candidate} chosen
   * @returns {Promise<Source>}
   */
  async #enrol({ picture, quality: judged, reference }) {
    const { networks, size, guided } = this.model;
    const pixels = planes(picture);
    const canonical = await networks.canonical(pixels);
    let motion = await networks.motion(pixels);
    const whole = { x: size / 2, y: size / 2, side: size };
    const tracker = new LandmarkTracker(networks.landmarks, networks.detector);
    const first = await tracker.update(picture, 0);
    // Once more, as exactly placed as in a frame that follows others.
    const landmarks = first && (await measure(networks.landmarks, picture, regionOfLandmarks(first)));
    if (landmarks) motion = withFace(motion, canonical, facePoints(landmarks, whole, this.model));
    return { picture, canonical, motion, reference, look: lookOf({ picture, canonical, motion }, guided, judged.sharpness) };
  }

  /**
   * What drives the current source as this frame moves; null before the receiver has a source.
   * @param {GreyPyramid} small
   * @param {Float32Array} motion
   * @param {number} captured
   */
  #driving(small, motion, captured) {
    const source = this.selection.current;
    if (source === null || this.canonical === null) return null;
    const vector = withCanonical(motion, this.canonical, source.canonical, this.model.guided.length);
    vector.set(this.background.place(source.reference.backdrop), BACKGROUND);
    if (this.body?.source !== source) {
      const { keypoints, body } = this.model;
      this.body = { source, tracker: new BodyTracker(source.reference.picture, source.reference.motion, keypoints - body, body) };
    }
    const followed = this.body.tracker.follow(small, vector);
    return { vector: this.aligner?.follow(source, small, followed, captured) ?? followed, source: this.selection.index };
  }
}

/**
 * @param {Crop} a
 * @param {Crop} b
 */
function isSame(a, b) {
  return a.x === b.x && a.y === b.y && a.side === b.side;
}
