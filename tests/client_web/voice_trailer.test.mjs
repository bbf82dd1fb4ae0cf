/** Motion behind the voice: golden payloads, what SDP says, and what a packet waits for. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { BitstreamError } from "../../client_web/codec/error.js";
import { TrailerRequests } from "../../client_web/motion/trailer_requests.js";
import { askingForVoice, cutTrailer, MAX_TRAILER, offeringTrailers, takesTrailers, withTrailer } from "../../client_web/motion/voice_trailer.js";

const VECTORS = JSON.parse(readFileSync(new URL("../vectors/voice_trailer.json", import.meta.url), "utf8"));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");

test("golden payloads, there and back", () => {
  assert.ok(VECTORS.payloads.length >= 4);
  for (const { name, opus, trailer, payload } of VECTORS.payloads) {
    assert.equal(hex(withTrailer(bytes(opus), bytes(trailer))), payload, name);
    const cut = cutTrailer(bytes(payload));
    assert.deepEqual([hex(cut.opus), hex(cut.trailer)], [opus, trailer], name);
  }
});

test("a payload but for its last byte is that of the daemon's packet", () => {
  for (const { name, opus, trailer, rtp } of VECTORS.packets) {
    assert.ok(rtp.endsWith(hex(withTrailer(bytes(opus), bytes(trailer)).subarray(0, -1))), name);
  }
});

test("what cannot be a trailer is refused", () => {
  assert.throws(() => withTrailer(bytes("48"), new Uint8Array(MAX_TRAILER + 1)), RangeError);
  for (const short of ["", "01", "4803"]) assert.throws(() => cutTrailer(bytes(short)), BitstreamError);
});

const SESSION = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
const AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=ptime:20\r\na=sendonly\r\n";
const DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n";

test("trailers are offered and answered in the audio section", () => {
  const offer = offeringTrailers(SESSION + AUDIO + DATA);
  assert.equal(offer, `${SESSION}${AUDIO}a=${VECTORS.payload_attribute}\r\n${DATA}`);
  assert.ok(takesTrailers(offer));
  assert.ok(!takesTrailers(SESSION + AUDIO + DATA));
  assert.ok(!takesTrailers(`${SESSION}${AUDIO}${DATA}a=${VECTORS.payload_attribute}\r\n`), "of the data channels");
  assert.equal(offeringTrailers(SESSION + DATA), SESSION + DATA);
});

test("the answer asks for a voice in packets of 60 ms", () => {
  const asked = askingForVoice(SESSION + AUDIO + DATA);
  assert.ok(asked.startsWith(SESSION) && asked.endsWith(`\r\n${DATA}`));
  const lines = asked.split("\r\n");
  assert.deepEqual(
    lines.filter((line) => /ptime:/.test(line)),
    ["a=ptime:60", "a=maxptime:60"],
  );
  assert.deepEqual(
    lines.filter((line) => line.startsWith("a=fmtp")),
    ["a=fmtp:111 minptime=10;useinbandfec=1;maxplaybackrate=16000;maxaveragebitrate=14000;stereo=0;usedtx=0"],
  );
  const bare = askingForVoice(SESSION + AUDIO.replace(/a=fmtp.*\r\n/, ""));
  assert.ok(bare.includes("a=fmtp:111 maxplaybackrate=16000;"));
  assert.equal(askingForVoice(SESSION + DATA), SESSION + DATA);
  const other = SESSION + AUDIO.replaceAll("opus", "PCMU");
  assert.equal(askingForVoice(other), other);
});

/** Requests whose packets wait until the test says that they have waited long enough. */
function requests() {
  const asked = [];
  const impatience = [];
  const one = new TrailerRequests(
    () => asked.push(asked.length),
    () => new Promise((resolve) => impatience.push(resolve)),
  );
  return { asked, impatience, one };
}

test("a packet takes along what the page answers", async () => {
  const { asked, one } = requests();
  const taken = one.take();
  assert.equal(asked.length, 1);
  one.answer(bytes("31"));
  assert.equal(hex(await taken), "31");
  const next = one.take();
  one.answer(new Uint8Array());
  assert.equal(hex(await next), "");
  assert.equal(asked.length, 2);
});

test("a page that is busy does not hold the voice up, and nothing is lost", async () => {
  const { asked, impatience, one } = requests();
  const first = one.take();
  impatience[0]();
  assert.equal(hex(await first), "", "left without");
  assert.equal(hex(await one.take()), "", "the page still owes an answer");
  assert.equal(asked.length, 1);
  one.answer(bytes("3101"));
  assert.equal(hex(await one.take()), "3101", "behind the next one");
  assert.equal(asked.length, 1);
  const next = one.take();
  one.answer(bytes("3102"));
  assert.equal(hex(await next), "3102");
});
