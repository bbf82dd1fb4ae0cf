// @ts-check
/** The numbers panel: what each face costs and how long it takes, measured, beside what H.264 would take. */
import { element, setAttribute, setText, vector } from "./element.js";
import { H264 } from "./h264_reference.js";
import { icon } from "./icons.js";
import { comparison, latencyStages, Series, shortNumber, totalMs, wayToScreen } from "./media_statistics.js";

/**
 * @typedef {import("./media_statistics.js").Received} Received
 * @typedef {import("./state.js").Participant} Participant
 *
 * @typedef {object} Own what one sends oneself, as motion
 * @property {import("./uplink.js").Uplink} uplink
 * @property {number | null} frameMs milliseconds from a frame of the camera to its motion, median
 *
 * @typedef {object} Measured
 * @property {Participant} participant
 * @property {any} server the server's statistics of this participant, if any
 * @property {Received | null} received what this page's own connection did
 * @property {number | null} displayMs from the last packet of a frame to the screen
 * @property {import("./capture_to_screen.js").CaptureToScreen | null} toScreen from capture to screen, frame by frame
 * @property {import("./capture_to_screen.js").Possible} framesAreNamed whether the browser allows such a measurement
 */

/** @param {() => void} onClose */
export function createNumbersPanel(onClose) {
  /** @type {Map<string, ReturnType<typeof createSection>>} */
  const sections = new Map();
  const own = createOwnSection();
  const list = element("div", { class: "numbers-list" });
  const empty = element("p", { class: "numbers-empty" }, "Nobody to measure yet. The numbers appear with the first face.");
  const clock = element("p", { class: "numbers-clock" });
  const close = element("button", { type: "button", class: "quiet", "aria-label": "Close the numbers", on: { click: onClose } }, icon("close"));
  const panel = element(
    "aside",
    { class: "numbers", id: "numbers", "aria-label": "Numbers" },
    element("header", { class: "numbers-header" }, element("h2", {}, "Numbers"), close),
    element("div", { class: "numbers-body", tabindex: 0, role: "group", "aria-label": "Measurements" }, own.element, empty, list, clock),
  );
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") onClose();
  });
  return {
    element: panel,
    close,
    /**
     * @param {Own | null} sent null while no motion is sent
     * @param {Measured[]} measured
     * @param {{roundTrip: number, offset: number} | null} serverClock
     */
    update(sent, measured, serverClock) {
      own.update(sent);
      const present = new Set(measured.map(({ participant }) => participant.id));
      for (const [id, section] of sections) {
        if (present.has(id)) continue;
        section.element.remove();
        sections.delete(id);
      }
      for (const one of measured) {
        let section = sections.get(one.participant.id);
        if (section === undefined) {
          section = createSection();
          sections.set(one.participant.id, section);
          list.append(section.element);
        }
        section.update(one, serverClock);
      }
      empty.hidden = measured.length > 0;
      clock.hidden = serverClock === null;
      if (serverClock) setText(clock, `Signalling round trip ${shortNumber(serverClock.roundTrip)} ms.`);
    },
  };
}

/** What one sends oneself. */
function createOwnSection() {
  const figures = {
    total: figure("You send", "kbit/s"),
    motion: figure("Motion", "kbit/s"),
    voice: figure("Voice", "kbit/s"),
    headers: figure("Headers", "kbit/s"),
    fps: figure("Motion frames", "fps"),
    frame: figure("One frame takes", "ms"),
  };
  const section = element(
    "section",
    { class: "numbers-of", "aria-label": "What you send" },
    element("header", {}, element("h3", {}, "You"), element("span", { class: "numbers-kind" }, "Neural face")),
    element("div", { class: "figures" }, ...Object.values(figures).map(({ element: box }) => box)),
  );
  section.hidden = true;
  return {
    element: section,
    /** @param {Own | null} sent */
    update(sent) {
      section.hidden = sent === null;
      if (sent === null) return;
      const { total, motion, voice, headers, fps } = sent.uplink;
      figures.total.set(total, shortNumber);
      figures.motion.set(motion, shortNumber);
      figures.voice.set(voice, shortNumber);
      figures.headers.set(headers, shortNumber);
      figures.fps.set(fps, (value) => value.toFixed(0));
      figures.frame.set(sent.frameMs, (value) => value.toFixed(0));
    },
  };
}

/** One participant's numbers. */
function createSection() {
  const name = element("h3");
  const kind = element("span", { class: "numbers-kind" });
  const figures = {
    payload: figure("Motion payload", "kbit/s"),
    wire: figure("On the wire", "kbit/s"),
    fps: figure("Shown", "fps"),
    loss: figure("Loss", "%"),
    freezes: figure("Freezes", ""),
    picture: figure("Picture to you", "kbit/s"),
  };
  const bars = { payload: bar("This face"), wire: bar("On the wire"), h264: bar("H.264"), h264Wire: bar("On the wire") };
  const sentence = element("p", { class: "compare-words" });
  const compare = element(
    "section",
    { class: "compare", "aria-label": "Beside H.264" },
    element("h4", {}, "Beside H.264"),
    ...Object.values(bars).map(({ element: row }) => row),
    sentence,
    element("p", { class: "fine" }, `Reference: x264 medium where its LPIPS is that of a call's face (${H264.lpips}), ${H264.size} × ${H264.size} at 25 fps, mean of ${H264.clips} clips; without keyframes and voice.`),
  );
  bars.h264.row.classList.add("is-other");
  bars.h264Wire.row.classList.add("is-other");
  const title = element("span");
  const total = element("span", { class: "latency-total" });
  const strip = element("div", { class: "latency-strip", "aria-hidden": "true" });
  const stages = element("dl", { class: "latency-stages" });
  const how = element("p", { class: "fine latency-how" });
  const remark = element("p", { class: "fine" });
  const latency = element(
    "section",
    { class: "latency", "aria-label": "Latency" },
    element("h4", {}, title, total),
    how,
    strip,
    stages,
    remark,
  );
  const series = new Series();
  const curve = vector("polyline", { class: "curve-line", points: "" });
  const curveBox = element("div", { class: "curve" });
  curveBox.append(
    vector("svg", { viewBox: "0 0 300 44", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" }, curve),
    element("span", { class: "fine" }, "Last minute, on the wire"),
  );

  return {
    element: element(
      "section",
      { class: "numbers-of" },
      element("header", {}, name, kind),
      element("div", { class: "figures" }, ...Object.values(figures).map(({ element: box }) => box)),
      curveBox,
      compare,
      latency,
    ),
    /**
     * @param {Measured} measured
     * @param {{roundTrip: number, offset: number} | null} serverClock
     */
    update({ participant, server, received, displayMs, toScreen, framesAreNamed }, serverClock) {
      const neural = participant.kind === "motion";
      const payload = number(server?.kbps_payload);
      const wire = number(server?.kbps_wire);
      setText(name, participant.name);
      setText(kind, neural ? "Neural face" : participant.kind === "camera" ? "Camera" : "Watching only");
      figures.payload.box.hidden = figures.wire.box.hidden = !neural;
      figures.payload.set(payload, shortNumber);
      figures.wire.set(wire, shortNumber);
      figures.fps.set(received?.fps ?? null, (value) => value.toFixed(0));
      figures.loss.set(neural ? number(server?.loss_percent) : (received?.lossPercent ?? null), (value) => value.toFixed(1));
      figures.freezes.set(received ? received.freezes + (number(server?.freezes) ?? 0) : null, (value) => value.toFixed(0));
      figures.picture.set(received?.kbps ?? null, shortNumber);
      compare.hidden = curveBox.hidden = !neural || payload === null || wire === null;
      if (!compare.hidden && payload !== null && wire !== null) {
        bars.payload.set(payload);
        bars.wire.set(wire);
        bars.h264.set(H264.payloadKbps);
        bars.h264Wire.set(H264.wireKbps);
        setText(sentence, comparison(payload, wire, H264));
        series.add(wire);
        setAttribute(curve, "points", series.points(300, 44));
      }
      const percentile = neural ? number(server?.latency_ms_p95) : null;
      const delay = neural ? number(server?.audio_delay_ms) : null;
      const remarks = [
        percentile !== null && `95 of 100 pictures are encoded within ${percentile.toFixed(0)} ms of capture.`,
        delay !== null && `The sound waits ${delay.toFixed(0)} ms for the lips.`,
      ];
      setText(remark, remarks.filter(Boolean).join(" "));
      const measured = latencyStages(neural ? server?.stages : undefined, received, displayMs);
      // Each clock is known to half of a round trip: the page's to the server, the sender's to the server.
      const clockErrorMs = ((serverClock?.roundTrip ?? 0) + (number(server?.round_trip_ms) ?? 0)) / 2;
      const way = wayToScreen({ stages: measured, neural, toScreen, framesAreNamed, clockErrorMs });
      latency.hidden = measured.length === 0;
      setText(title, way.title);
      setText(total, `${way.ms.toFixed(0)} ms`);
      setText(how, way.words);
      setAttribute(latency, "data-measured", way.measured);
      drawStages(strip, stages, measured, way.measured);
    },
  };
}

/**
 * @param {HTMLElement} strip
 * @param {HTMLElement} list
 * @param {import("./media_statistics.js").Stage[]} stages
 * @param {boolean} sums whether their sum stands below them
 */
function drawStages(strip, list, stages, sums) {
  const sum = totalMs(stages);
  const key = [...stages.map(({ name }) => name), sums].join();
  if (list.dataset["stages"] !== key) {
    list.dataset["stages"] = key;
    strip.replaceChildren(...stages.map(({ place }) => element("span", { class: `latency-part is-${place}` })));
    list.replaceChildren(...stages.map(({ label, place }) => row(label, `is-${place}`)));
    if (sums) list.append(row("Sum of the stages", "is-sum"));
  }
  [...stages.map(({ ms }) => ms), sum].forEach((ms, i) => {
    const part = /** @type {HTMLElement | undefined} */ (strip.children[i]);
    part?.style.setProperty("flex-grow", String(Math.max(ms, sum * 0.004)));
    const value = list.children[i]?.querySelector("dd");
    if (value) setText(value, `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`);
  });
}

/**
 * @param {string} label
 * @param {string} place
 */
function row(label, place) {
  return element("div", { class: `latency-stage ${place}` }, element("dt", {}, label), element("dd"));
}

/**
 * @param {string} label
 * @param {string} unit
 */
function figure(label, unit) {
  const value = element("span", { class: "figure-value" }, "–");
  const box = element("div", { class: "figure" }, element("span", { class: "figure-label" }, label), element("span", {}, value, unit ? element("span", { class: "figure-unit" }, ` ${unit}`) : null));
  return {
    element: box,
    box,
    /**
     * @param {number | null} measured
     * @param {(value: number) => string} format
     */
    set: (measured, format) => setText(value, measured === null ? "–" : format(measured)),
  };
}

/** @param {string} label */
function bar(label) {
  const fill = element("span", { class: "bar-fill" });
  const value = element("span", { class: "bar-value" });
  const row = element("div", { class: "bar" }, element("span", { class: "bar-label" }, label), element("span", { class: "bar-track" }, fill), value);
  return {
    element: row,
    row,
    /** @param {number} kbps */
    set(kbps) {
      fill.style.setProperty("width", `${Math.min(100, (100 * kbps) / H264.wireKbps)}%`);
      setText(value, shortNumber(kbps));
    },
  };
}

/**
 * @param {unknown} value
 * @returns {number | null}
 */
function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
