// @ts-check
/** Labelled choices of camera, microphone and speaker; the lobby and the call's dialog show the same. */
import { element, setText } from "./element.js";

/**
 * @typedef {import("./devices.js").OwnDevices} OwnDevices
 * @typedef {"camera" | "microphone" | "speaker"} Device
 */

const LABELS = { camera: "Camera", microphone: "Microphone", speaker: "Speaker" };

let serial = 0;

/**
 * @param {OwnDevices} devices
 * @param {(device: Device, id: string) => void} onChoose
 */
export function createDevicePickers(devices, onChoose) {
  const speakerWorks = "setSinkId" in HTMLMediaElement.prototype;
  const kinds = /** @type {Device[]} */ (speakerWorks ? ["camera", "microphone", "speaker"] : ["camera", "microphone"]);
  const rows = kinds.map((device) => {
    const id = `pick-${device}-${++serial}`;
    const select = element("select", { id, on: { change: () => onChoose(device, select.value) } });
    const row = element("div", { class: "field" }, element("label", { for: id }, LABELS[device]), select);
    return { device, select, row, listed: "" };
  });
  return {
    element: element("div", { class: "pickers" }, ...rows.map(({ row }) => row)),
    update() {
      for (const row of rows) {
        const found = devices.listed(row.device);
        const listed = JSON.stringify(found.map(({ deviceId, label }) => [deviceId, label]));
        if (listed !== row.listed || row.select.options.length === 0) {
          row.listed = listed;
          const options = found.map(({ deviceId, label }, i) => element("option", { value: deviceId }, label || `${LABELS[row.device]} ${i + 1}`));
          if (options.length === 0) options.push(element("option", { value: "" }, `No ${row.device} found`));
          row.select.replaceChildren(...options);
        }
        row.select.disabled = found.length === 0;
        const track = row.device === "speaker" ? null : devices[row.device];
        const used = devices.chosen[row.device] ?? track?.getSettings().deviceId;
        if (used && found.some(({ deviceId }) => deviceId === used)) row.select.value = used;
      }
    },
  };
}

/** Bars that follow the microphone's level. */
export function createLevelMeter() {
  const bars = Array.from({ length: 14 }, () => element("span", { class: "meter-bar" }));
  const text = element("span", { class: "meter-text" });
  const meter = element(
    "div",
    { class: "meter", role: "meter", "aria-label": "Microphone level", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0 },
    ...bars,
  );
  let heard = false;
  let announced = 0;
  return {
    element: element("div", { class: "meter-row" }, meter, text),
    /**
     * @param {number} level in [0, 1]
     * @param {"on" | "off" | "none"} microphone
     */
    update(level, microphone) {
      heard ||= level > 0.35;
      const lit = Math.round(level * bars.length);
      bars.forEach((bar, i) => bar.classList.toggle("is-lit", i < lit));
      // In steps, or assistive technology would be notified sixty times a second.
      if (Math.abs(level - announced) >= 0.05 || (level === 0 && announced > 0)) {
        announced = level;
        meter.setAttribute("aria-valuenow", String(Math.round(level * 100)));
      }
      const words = { on: heard ? "Microphone works" : "Say something", off: "Microphone off", none: "No microphone" };
      setText(text, words[microphone]);
    },
  };
}
