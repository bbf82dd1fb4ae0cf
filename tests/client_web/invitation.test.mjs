import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { exchangeInvitation, inviteLink, makeInvitation, readAccess } from "../../client_web/invitation.js";

const INVITATION = "eyJh.eyJp-x_.c2ln";
const fetched = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = fetched;
});

test("a link that was shared is read again", () => {
  const link = inviteLink({ origin: "https://calls.example.org", pathname: "/visavis/" }, "stand-up", INVITATION);
  assert.equal(link, `https://calls.example.org/visavis/?room=stand-up#invitation=${INVITATION}`);
  assert.deepEqual(readAccess(`  ${link}\n`), { room: "stand-up", token: null, invitation: INVITATION });
  assert.equal(new URL(link).search.includes("invitation"), false, "never where a server or a referrer sees it");
});

test("a bare invitation and addresses with tokens are read, anything else is not", () => {
  assert.deepEqual(readAccess(INVITATION), { room: null, token: null, invitation: INVITATION });
  assert.equal(readAccess("https://x.example/?room=r#token=t").token, "t");
  assert.equal(readAccess("https://x.example/?token=t").token, "t");
  for (const text of ["", "hello", "https://x.example/", "https://x.example/#invitation=<b>", "a.b", "javascript:1"]) {
    assert.equal(readAccess(text).invitation, null, text);
  }
});

test("without an invitation the link names the room alone", () => {
  assert.equal(inviteLink({ origin: "http://localhost:8080", pathname: "/" }, "a", null), "http://localhost:8080/?room=a");
});

/** Answers each request with the next of these. */
function answering(...answers) {
  const requests = [];
  globalThis.fetch = async (path, options) => {
    requests.push({ path, body: JSON.parse(options.body), authorization: options.headers.Authorization });
    const [status, body] = answers.shift();
    return new Response(JSON.stringify(body), { status });
  };
  return requests;
}

test("an invitation is exchanged without a token", async () => {
  const requests = answering([201, { token: "t" }]);
  assert.equal(await exchangeInvitation(INVITATION), "t");
  assert.deepEqual(requests, [{ path: "api/tokens", body: { invitation: INVITATION }, authorization: undefined }]);
});

test("a refusal says why", async () => {
  answering([401, { code: "unauthorized", message: "the invitation has expired" }]);
  await assert.rejects(exchangeInvitation(INVITATION), { code: "unauthorized", message: "the invitation has expired" });
});

test("who may only watch invites others to watch", async () => {
  const requests = answering([403, { code: "forbidden", message: "no" }], [201, { invitation: INVITATION }]);
  assert.equal(await makeInvitation("a b", "t"), INVITATION);
  assert.deepEqual(requests.map(({ path, body }) => [path, body.publish]), [
    ["api/rooms/a%20b/invitations", true],
    ["api/rooms/a%20b/invitations", false],
  ]);
  assert.equal(requests[0].authorization, "Bearer t");
});
