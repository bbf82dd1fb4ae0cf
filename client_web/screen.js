// @ts-check
/** One's own screen, window or tab: chosen in the browser's own dialogue, and ended by its own button. */

/** What the server shows at most, and what text needs to stay sharp on a thin line. */
const WANTED = { video: { width: { max: 1920 }, height: { max: 1080 }, frameRate: { max: 15 } }, audio: true };

/** Whether this browser can share a screen at all; phones cannot. */
export function canShareScreen() {
  return typeof navigator.mediaDevices?.getDisplayMedia === "function";
}

/**
 * Lets a person choose what to share.
 * @param {() => void} onEnded the browser's own button ended it, or the window is gone
 * @returns {Promise<MediaStream | null>} null when nothing was chosen
 */
export async function chooseScreen(onEnded) {
  const stream = await navigator.mediaDevices.getDisplayMedia(WANTED).catch((error) => {
    if (error instanceof DOMException && (error.name === "NotAllowedError" || error.name === "AbortError")) return null;
    throw error;
  });
  const track = stream?.getVideoTracks()[0];
  if (!stream || !track) return null;
  // Rather fewer pictures than blurred letters.
  track.contentHint = "detail";
  track.addEventListener("ended", onEnded, { once: true });
  return stream;
}

/** @param {MediaStream | null} stream */
export function endScreen(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
