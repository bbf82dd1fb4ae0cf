// @ts-check
/** Short messages: shown for a moment, and said by screen readers. */
import { element } from "./element.js";

const SHOWN_MS = 4500;
const AT_MOST = 3;

/**
 * Lets screen readers say something.
 * @param {string} sentence
 */
export function announce(sentence) {
  const region = document.getElementById("announcements");
  if (region === null) return;
  // A new node is read even when its words are those of the one before.
  region.replaceChildren(element("p", {}, sentence));
}

/**
 * @param {string} text
 */
export function toast(text) {
  const holder = document.getElementById("toasts");
  if (holder === null) return;
  const shown = element("p", { class: "toast" }, text);
  while (holder.childElementCount >= AT_MOST) holder.firstElementChild?.remove();
  holder.append(shown);
  announce(text);
  setTimeout(() => shown.remove(), SHOWN_MS);
}
