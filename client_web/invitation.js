// @ts-check
/** Invitations: read from an address or from what somebody pastes, exchanged for a token, and made for others. */
import { askApi } from "./api.js";
import { roomName } from "./state.js";

/**
 * @typedef {object} Access what opens a room: a token, or an invitation that is exchanged for one
 * @property {string | null} room
 * @property {string | null} token
 * @property {string | null} invitation
 */

const INVITATION = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * What an address grants. A bare invitation, as the command `invite --json` prints it, counts as one.
 * @param {string} text
 * @returns {Access}
 */
export function readAccess(text) {
  const trimmed = text.trim();
  if (INVITATION.test(trimmed)) return { room: null, token: null, invitation: trimmed };
  if (!URL.canParse(trimmed)) return { room: null, token: null, invitation: null };
  const address = new URL(trimmed);
  const fragment = new URLSearchParams(address.hash.slice(1));
  const invitation = fragment.get("invitation");
  return {
    room: roomName(address.searchParams.get("room") ?? "") || null,
    token: fragment.get("token") ?? address.searchParams.get("token"),
    invitation: invitation !== null && INVITATION.test(invitation) ? invitation : null,
  };
}

/**
 * The link that lets others in: the invitation stands in the fragment, which a browser sends to no server.
 * @param {{origin: string, pathname: string}} page
 * @param {string} room
 * @param {string | null} invitation
 */
export function inviteLink(page, room, invitation) {
  const link = new URL(page.pathname, page.origin);
  link.searchParams.set("room", room);
  if (invitation !== null) link.hash = `invitation=${invitation}`;
  return link.href;
}

/**
 * A token of one's own in exchange for an invitation.
 * @param {string} invitation
 * @returns {Promise<string>}
 */
export async function exchangeInvitation(invitation) {
  return (await askApi("POST", "api/tokens", { invitation }, null)).token;
}

/**
 * An invitation to the room, if the token permits making one.
 * @param {string} room
 * @param {string} token
 * @returns {Promise<string>}
 */
export async function makeInvitation(room, token) {
  const publish = { publish: true };
  const watch = { publish: false };
  const path = `api/rooms/${encodeURIComponent(room)}/invitations`;
  const invited = await askApi("POST", path, publish, token).catch((error) => {
    // Who may only watch may invite others to watch.
    if (error.code === "forbidden") return askApi("POST", path, watch, token);
    throw error;
  });
  return invited.invitation;
}
