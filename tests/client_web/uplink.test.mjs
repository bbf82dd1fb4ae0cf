/** What one's own motion and voice take on the way up. */
import assert from "node:assert/strict";
import test from "node:test";
import { sentSoFar, uplinkBetween } from "../../client_web/uplink.js";

const report = (bytesSent, packetsSent, sound) => [
  { type: "transport", bytesSent, packetsSent },
  { type: "outbound-rtp", kind: "audio", bytesSent: sound },
  { type: "outbound-rtp", kind: "video", bytesSent: 9 },
  { type: "data-channel", bytesSent: 9 },
];

test("motion, voice and headers are told apart, and add up", () => {
  const before = sentSoFar(report(10_000, 100, 4000), { motionBytes: 1000, behindVoiceBytes: 800, frames: 50 }, 1000);
  const after = sentSoFar(report(15_000, 150, 6500), { motionBytes: 2000, behindVoiceBytes: 1300, frames: 100 }, 3000);
  const uplink = uplinkBetween(before, after);
  assert.deepEqual(uplink, { motion: 4, voice: 8, headers: 13.6, total: 25.6, fps: 25 });
});

test("a connection that has sent nothing gives zeros", () => {
  const nothing = { motionBytes: 0, behindVoiceBytes: 0, frames: 0 };
  const uplink = uplinkBetween(sentSoFar([], nothing, 0), sentSoFar([], nothing, 1000));
  assert.deepEqual(uplink, { motion: 0, voice: 0, headers: 0, total: 0, fps: 0 });
});
