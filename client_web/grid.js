// @ts-check
/**
 * The stage: everybody's tiles, arranged to fill it; with one other person, oneself stands small in a corner. The screen that was
 * shared last stands large, and the tiles beside or below it.
 */
import { element, setAttribute } from "./element.js";
import { arrange, divide } from "./layout.js";
import { others, screens } from "./state.js";
import { createTile } from "./tile.js";

/**
 * @typedef {import("./state.js").State} State
 * @typedef {import("./state.js").Participant} Participant
 * @typedef {ReturnType<typeof createTile>} Tile
 */

const PHONE = 600;

/**
 * @param {{onView: (participant: string, view: {yaw: number, pitch: number}) => void, onBlocked: () => void, invitation: HTMLElement}} options
 */
export function createGrid({ onView, onBlocked, invitation }) {
  /** @type {Map<string, Tile>} */
  const tiles = new Map();
  const own = createTile({ own: true });
  const grid = element("div", { class: "grid" });
  const corner = element("div", { class: "corner" });
  const spotlight = element("div", { class: "spotlight" });
  spotlight.hidden = true;
  const stage = element("section", { class: "stage", "aria-label": "Participants" }, spotlight, grid, corner, invitation);
  /** @type {State | null} */
  let shown = null;
  let speaker = "";

  new ResizeObserver(() => place()).observe(stage);

  function place() {
    if (shown === null) return;
    const small = stage.clientWidth < PHONE;
    const count = grid.childElementCount;
    const style = getComputedStyle(stage);
    const width = stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const height = stage.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    if (count === 0 || width <= 0 || height <= 0) return;
    const gap = small ? 8 : 12;
    if (!spotlight.hidden) {
      const parts = divide(width, height, gap);
      spotlight.style.setProperty("--screen-width", `${parts.screen.width}px`);
      spotlight.style.setProperty("--screen-height", `${parts.screen.height}px`);
      stage.classList.toggle("is-beside", parts.beside);
      spread(arrange(count, parts.rest.width, parts.rest.height, { gap, smallest: 60 }), parts.rest.height, gap);
      return;
    }
    // A phone held upright gives tiles its height; a face is shown whole in them (call.css).
    const narrow = small ? (count === 1 ? 0.5 : 3 / 4) : 1;
    const tile = arrange(count, width, height, { gap, narrow });
    corner.style.setProperty("--from-side", `${Math.max(0, (width - tile.width) / 2)}px`);
    corner.style.setProperty("--from-bottom", `${Math.max(0, (height - tile.height) / 2)}px`);
    spread(tile, height, gap);
  }

  /**
   * @param {import("./layout.js").Arrangement} tile
   * @param {number} height px that there are
   * @param {number} gap px
   */
  function spread(tile, height, gap) {
    grid.style.setProperty("--gap", `${gap}px`);
    stage.classList.toggle("scrolls", tile.rows * (tile.height + gap) - gap > height + 1);
    grid.style.setProperty("--columns", String(tile.columns));
    grid.style.setProperty("--tile-width", `${tile.width}px`);
    grid.style.setProperty("--tile-height", `${tile.height}px`);
  }

  /** @param {HTMLVideoElement} video */
  async function speakThrough(video) {
    // A device that was unplugged meanwhile leaves the browser's own choice in place.
    if ("setSinkId" in video) await video.setSinkId(speaker).catch(() => undefined);
  }

  return {
    element: stage,
    /** @param {State} state */
    update(state) {
      const remote = others(state);
      const shared = screens(state);
      const all = [...shared, ...remote];
      const present = new Set(all.map((participant) => participant.id));
      for (const [id, tile] of tiles) {
        if (present.has(id)) continue;
        tile.show(null);
        tile.element.remove();
        tiles.delete(id);
      }
      for (const participant of all) {
        let tile = tiles.get(participant.id);
        if (tile === undefined) {
          tile = createTile({ own: false, onBlocked, onView: (view) => onView(participant.id, view) });
          tiles.set(participant.id, tile);
          if (speaker) void speakThrough(tile.video);
        }
        tile.update({ participant, speaking: state.speaking === participant.id, statistics: state.statistics[participant.id] });
      }
      const large = shared.at(-1);
      const aside = remote.length === 1 && large === undefined;
      own.update({ participant: oneself(state), speaking: state.speaking === state.self, statistics: undefined, small: aside });
      const elementOf = (/** @type {Participant} */ participant) => /** @type {Tile} */ (tiles.get(participant.id)).element;
      const wanted = all.filter((participant) => participant !== large).map(elementOf);
      spotlight.hidden = large === undefined;
      stage.classList.toggle("has-screen", large !== undefined);
      reorder(spotlight, large === undefined ? [] : [elementOf(large)]);
      if (!aside) wanted.push(own.element);
      reorder(grid, wanted);
      reorder(corner, aside ? [own.element] : []);
      corner.hidden = !aside;
      // Without a connection it is not known who is there.
      invitation.hidden = remote.length > 0 || state.phase === "reconnecting";
      setAttribute(stage, "data-count", remote.length);
      shown = state;
      place();
    },
    /** @param {string} participant */
    tile: (participant) => tiles.get(participant),
    own,
    /** @param {string} deviceId */
    async speakThrough(deviceId) {
      speaker = deviceId;
      await Promise.all([...tiles.values()].map(({ video }) => speakThrough(video)));
    },
    /** Plays what the browser blocked, after a click. */
    unblock() {
      for (const { video } of tiles.values()) void video.play();
    },
    /** The picture that a person most likely wants to keep in sight. @returns {HTMLVideoElement | null} */
    foremost() {
      const speaking = shown?.speaking ? tiles.get(shown.speaking) : undefined;
      const candidates = speaking ? [speaking, ...tiles.values()] : [...tiles.values()];
      return candidates.find((tile) => tile.video.videoWidth > 0)?.video ?? null;
    },
  };
}

/**
 * One's own entry, with what this page knows before the roster has it.
 * @param {State} state
 * @returns {Participant}
 */
function oneself(state) {
  const entry = state.roster.find((participant) => participant.id === state.self);
  return {
    id: state.self ?? "own",
    name: entry?.name ?? state.name,
    kind: "camera",
    muted: state.muted,
    camera_off: state.cameraOff,
    avatar: entry?.avatar ?? false,
    state: state.phase === "reconnecting" ? "lost" : "live",
    publication: entry?.publication ?? 0,
  };
}

/**
 * Makes `children` the children of `parent`, and moves only what stands elsewhere: a video that is moved in the document pauses.
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} children
 */
function reorder(parent, children) {
  for (const child of [...parent.children]) if (!children.includes(/** @type {HTMLElement} */ (child))) child.remove();
  children.forEach((child, i) => {
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
    const video = child.querySelector("video");
    if (video?.srcObject && video.paused) void video.play().catch(() => undefined);
  });
}
