// @ts-check
/** Own camera and microphone: opening them, switching, the level of the microphone, and errors in plain words. */

/**
 * @typedef {"camera" | "microphone" | "camera and microphone"} Named
 * @typedef {{cause: string, title: string, advice: string}} Problem cause: the name of the browser's error
 */

/**
 * The message for a person when a device did not open.
 * @param {string} cause name of what getUserMedia threw; "insecure" where a page may not ask at all
 * @param {Named} device
 * @returns {Problem}
 */
export function explainDeviceError(cause, device) {
  const are = device === "camera and microphone" ? "are" : "is";
  const them = device === "camera and microphone" ? "them" : "it";
  switch (cause) {
    case "insecure":
      return {
        cause,
        title: `This address cannot use your ${device}`,
        advice: "Browsers hand out devices only on https addresses and on localhost. You can join and watch.",
      };
    case "NotAllowedError":
    case "SecurityError":
      return {
        cause,
        title: `Your ${device} ${are} blocked`,
        advice: `Allow ${them} in the site settings, at the icon left of the address, then try again. You can also join without ${them}.`,
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return { cause, title: `No ${device.replace(" and ", " or ")} found`, advice: "Plug one in, or pick another device. You can also join without." };
    case "NotReadableError":
    case "AbortError":
      return {
        cause,
        title: `Your ${device} ${are} busy`,
        advice: `Another program seems to use ${them}. Close that program, then try again. You can also join without ${them}.`,
      };
    case "ended":
      return { cause, title: `Your ${device} went away`, advice: "Plug it in again, or pick another device. You can also join without it." };
    default:
      return { cause, title: `Your ${device} did not start`, advice: `Try again, or join without ${them}.` };
  }
}

/**
 * One notice for each problem, and one for both where both have the same cause.
 * @param {Problem | null} camera
 * @param {Problem | null} microphone
 * @returns {Problem[]}
 */
export function deviceNotices(camera, microphone) {
  if (camera && microphone && camera.cause === microphone.cause) return [explainDeviceError(camera.cause, "camera and microphone")];
  return [camera, microphone].filter((problem) => problem !== null);
}

/**
 * Loudness of samples as a position on a meter: 0 at -60 dB and below, 1 at full scale.
 * @param {Float32Array} samples in [-1, 1]
 * @returns {number} in [0, 1]
 */
export function meterLevel(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / Math.max(1, samples.length) + 1e-12);
  return Math.min(1, Math.max(0, 1 + decibels / 60));
}

/**
 * @typedef {{camera: string | null, microphone: string | null, speaker: string | null}} Chosen device ids; null = the browser's choice
 */

const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const VIDEO = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 25, max: 30 } };

/** Holds the tracks of oneself. `onChange` is called whenever a track, a problem or the list of devices changes. */
export class OwnDevices {
  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    /** @type {Chosen} */
    this.chosen = { camera: null, microphone: null, speaker: null };
    /** @type {MediaStreamTrack | null} */
    this.camera = null;
    /** @type {MediaStreamTrack | null} */
    this.microphone = null;
    /** @type {{camera: Problem | null, microphone: Problem | null}} */
    this.problems = { camera: null, microphone: null };
    /** @type {MediaDeviceInfo[]} */
    this.available = [];
    this.wanted = { camera: true, microphone: true };
    /** @type {{context: AudioContext, source: MediaStreamAudioSourceNode, analyser: AnalyserNode, samples: Float32Array<ArrayBuffer>} | null} */
    this.meter = null;
    this.measuring = true;
    navigator.mediaDevices?.addEventListener("devicechange", () => void this.#list());
  }

  /** Opens what is wanted; one question to the person where both are wanted, then one by one to learn which of them failed. */
  async open() {
    const both = this.wanted.camera && this.wanted.microphone && !this.camera && !this.microphone;
    if (both) {
      try {
        const stream = await this.#ask({ video: this.#video(), audio: this.#audio() });
        this.#opened("camera", stream.getVideoTracks()[0] ?? null);
        this.#opened("microphone", stream.getAudioTracks()[0] ?? null);
      } catch {
        // asked again below, one by one, to name the one that failed
      }
    }
    if (this.wanted.microphone && !this.microphone) await this.#openOne("microphone");
    if (this.wanted.camera && !this.camera) await this.#openOne("camera");
    await this.#list();
  }

  /**
   * Whether a device is on, or about to be.
   * @param {"camera" | "microphone"} device
   */
  on(device) {
    return this.wanted[device] && this.problems[device] === null;
  }

  /**
   * Turns the camera on or off; off releases it, so that its light goes out.
   * @param {boolean} on
   */
  async setCamera(on) {
    this.wanted.camera = on;
    if (on && !this.camera) await this.#openOne("camera");
    if (!on) this.#take("camera", null);
    this.onChange();
  }

  /**
   * Mutes or opens the microphone; muted, it sends silence.
   * @param {boolean} on
   */
  async setMicrophone(on) {
    this.wanted.microphone = on;
    if (on && !this.microphone) await this.#openOne("microphone");
    if (this.microphone) this.microphone.enabled = this.wanted.microphone;
    this.onChange();
  }

  /**
   * @param {"camera" | "microphone" | "speaker"} device
   * @param {string} id
   */
  async choose(device, id) {
    this.chosen[device] = id || null;
    if (device !== "speaker") {
      this.#take(device, null);
      if (this.wanted[device]) await this.#openOne(device);
    }
    this.onChange();
  }

  /**
   * @param {"camera" | "microphone" | "speaker"} device
   * @returns {MediaDeviceInfo[]}
   */
  listed(device) {
    const kind = { camera: "videoinput", microphone: "audioinput", speaker: "audiooutput" }[device];
    return this.available.filter((found) => found.kind === kind && found.deviceId !== "");
  }

  /** @returns {number} the microphone's level now, in [0, 1] */
  level() {
    if (!this.meter || !this.microphone?.enabled) return 0;
    this.meter.analyser.getFloatTimeDomainData(this.meter.samples);
    return meterLevel(this.meter.samples);
  }

  /**
   * Whether the level is shown; measuring costs a little all the time.
   * @param {boolean} measuring
   */
  measureLevel(measuring) {
    this.measuring = measuring;
    void (measuring ? this.meter?.context.resume() : this.meter?.context.suspend());
  }

  /** @param {"camera" | "microphone"} device */
  async #openOne(device) {
    try {
      const stream = await this.#ask(device === "camera" ? { video: this.#video() } : { audio: this.#audio() });
      this.#opened(device, stream.getTracks()[0] ?? null);
    } catch (error) {
      this.#take(device, null);
      const cause = navigator.mediaDevices ? /** @type {{name?: string}} */ (error).name : "insecure";
      this.problems[device] = explainDeviceError(cause ?? "", device);
    }
    this.onChange();
  }

  /**
   * @param {"camera" | "microphone"} device
   * @param {MediaStreamTrack | null} track
   */
  #opened(device, track) {
    if (this.wanted[device]) this.#take(device, track);
    else track?.stop(); // turned off while it was opening
  }

  /** @param {MediaStreamConstraints} constraints */
  async #ask(constraints) {
    return navigator.mediaDevices.getUserMedia(constraints);
  }

  #video() {
    return this.chosen.camera ? { ...VIDEO, deviceId: { exact: this.chosen.camera } } : VIDEO;
  }

  #audio() {
    return this.chosen.microphone ? { ...AUDIO, deviceId: { exact: this.chosen.microphone } } : AUDIO;
  }

  /**
   * @param {"camera" | "microphone"} device
   * @param {MediaStreamTrack | null} track
   */
  #take(device, track) {
    this[device]?.stop();
    this[device] = track;
    if (track !== null) {
      this.problems[device] = null;
      track.addEventListener("ended", () => {
        if (this[device] !== track) return;
        this.#take(device, null);
        this.problems[device] = explainDeviceError("ended", device);
        this.onChange();
      });
    }
    if (device === "microphone") this.#listen(track);
    this.onChange();
  }

  /** @param {MediaStreamTrack | null} track */
  #listen(track) {
    this.meter?.source.disconnect();
    void this.meter?.context.close();
    this.meter = null;
    if (track === null) return;
    const context = new AudioContext();
    const source = context.createMediaStreamSource(new MediaStream([track]));
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    source.connect(analyser);
    this.meter = { context, source, analyser, samples: new Float32Array(analyser.fftSize) };
    // A browser may block sound until the first click.
    if (this.measuring) void context.resume();
    else void context.suspend();
  }

  async #list() {
    this.available = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    this.onChange();
  }
}
