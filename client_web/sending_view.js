// @ts-check
/** The lobby's and the settings' part about how one's own face is sent: the choice, what others see, whether a face is found, what it costs. */
import { element, setText } from "./element.js";

/**
 * @typedef {import("./sending.js").SendingView} SendingView
 * @typedef {import("./sending.js").Way} Way
 */

const STEPS = {
  loading: "Getting ready to send motion…",
  searching: "Looking for your face…",
  choosing: "Face found. Choosing a picture of you…",
  shown: "Face found.",
};

/**
 * @param {{choose: (way: Way) => void, another: () => void}} actions
 */
export function createSendingView(actions) {
  const video = element("video", { class: "face-video", playsinline: true, autoplay: true, tabindex: -1, "aria-label": "Your face as others see it" });
  video.muted = true;
  video.disablePictureInPicture = true;
  const face = element("figure", { class: "face" }, video, element("figcaption", {}, "How others see you"));
  const motion = choice("motion", "Motion", "One picture of you, then only how your face moves");
  const camera = choice("camera", "Picture", "The camera's picture, as in any other call");
  const words = element("span", { class: "sending-words", role: "status" });
  const cost = element("span", { class: "sending-cost" });
  const another = element("button", { type: "button", class: "secondary", on: { click: actions.another } }, "New picture");
  another.title = "Take another picture of you";
  const details = element("div", { class: "sending-details" }, element("p", {}, words, " ", cost), another);

  /**
   * @param {Way} way
   * @param {string} label
   * @param {string} explanation
   */
  function choice(way, label, explanation) {
    const input = element("input", { type: "radio", name: "sending", value: way, on: { change: () => actions.choose(way) } });
    return { input, label: element("label", { class: "sending-choice", title: explanation }, input, label) };
  }

  return {
    /** Stands in the preview's corner. */
    face,
    element: element(
      "fieldset",
      { class: "sending" },
      element("legend", {}, element("span", { class: "visually-hidden" }, "What others get of you")),
      element("div", { class: "sending-choices" }, element("span", { class: "sending-label", "aria-hidden": "true" }, "Others get"), motion.label, camera.label),
      details,
    ),
    /**
     * @param {SendingView} view
     * @param {boolean} cameraOn
     */
    update(view, cameraOn) {
      motion.input.checked = view.way === "motion";
      motion.input.disabled = !view.offered;
      camera.input.checked = view.way === "camera";
      const sends = view.way === "motion" && cameraOn;
      if (video.srcObject !== view.face) video.srcObject = view.face;
      face.hidden = !sends || view.face === null;
      another.hidden = cost.hidden = !sends || view.step !== "shown";
      const said = sentence(view, cameraOn);
      details.hidden = said === "";
      setText(words, said);
      const parts = [
        view.kbps !== null && `${view.kbps.toFixed(0)} kbit/s`,
        view.milliseconds !== null && `${view.milliseconds.toFixed(0)} ms a frame`,
      ];
      setText(cost, parts.filter(Boolean).join(", "));
    },
  };
}

/**
 * @param {SendingView} view
 * @param {boolean} cameraOn
 */
function sentence(view, cameraOn) {
  if (view.problem !== null) return `${view.problem} Others get your camera's picture.`;
  if (view.way === "camera" || !cameraOn) return "";
  const several = view.several ? " Somebody else is in the picture; the one seen first is sent." : "";
  const unseen = view.step === "shown" && view.faceProblem !== null ? ` There is no preview: ${view.faceProblem}` : "";
  return STEPS[view.step] + several + unseen;
}
