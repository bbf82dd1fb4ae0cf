// @ts-check
/**
 * What x264 at preset medium takes for a picture as good as a call's face, by LPIPS, without its keyframe; on the wire
 * with the headers of its RTP packets. Made by `python -m model rd --published` of docs/rate-distortion.json.
 */
export const H264 = {
  payloadKbps: 25.1,
  wireKbps: 36.3,
  lpips: 0.08,
  size: 256,
  clips: 4,
};
