// @ts-check
/**
 * Single keys that act during a call. They can be turned off (WCAG 2.1.4): speech input types them by accident, and so does
 * a hand that rests on the keyboard. Pure.
 */

/** @typedef {"microphone" | "camera" | "numbers" | "pictureInPicture"} ShortcutName */

/** In the order of the buttons. @type {Readonly<Record<ShortcutName, {key: string, words: string}>>} */
export const SHORTCUTS = {
  microphone: { key: "m", words: "microphone" },
  camera: { key: "v", words: "camera" },
  numbers: { key: "n", words: "numbers" },
  pictureInPicture: { key: "p", words: "picture in picture" },
};

/**
 * Which shortcut a key press means. Keys that repeat, with a modifier, or typed into a field mean none.
 * @param {{key: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean, repeat: boolean}} event
 * @param {boolean} typing whether the focus is where keys have another meaning
 * @returns {ShortcutName | null}
 */
export function shortcutOf({ key, ctrlKey, altKey, metaKey, repeat }, typing) {
  if (typing || ctrlKey || altKey || metaKey || repeat) return null;
  const wanted = key.toLowerCase();
  for (const [name, shortcut] of Object.entries(SHORTCUTS)) {
    if (shortcut.key === wanted) return /** @type {ShortcutName} */ (name);
  }
  return null;
}
