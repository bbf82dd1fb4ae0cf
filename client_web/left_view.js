// @ts-check
/** The page after a call. */
import { element, setText } from "./element.js";
import { mark } from "./icons.js";

/**
 * @param {{again: () => void, lobby: () => void}} actions
 */
export function createLeftView(actions) {
  const words = element("p", { class: "lead" });
  const again = element("button", { type: "button", class: "primary", on: { click: actions.again } }, "Join again");
  const heading = element("h1", { tabindex: -1 });
  const view = element(
    "main",
    { class: "left" },
    element("span", { class: "brand" }, mark(), "visavis"),
    heading,
    words,
    element("div", { class: "left-actions" }, again, element("button", { type: "button", class: "secondary", on: { click: actions.lobby } }, "Back to the start")),
  );
  return {
    element: view,
    begin: () => again.focus(),
    /** @param {import("./state.js").State} state */
    update(state) {
      setText(heading, state.problem === null ? "You left the call" : "The call is over");
      setText(words, state.problem ?? `The room ${state.room} stays open for the others.`);
    },
  };
}
