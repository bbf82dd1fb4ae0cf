// @ts-check
/**
 * What x264 at preset medium takes for a picture as good as a call's face, by LPIPS, without its keyframe; on the wire
 * with the headers of its RTP packets. Made by `python -m model rd --published` of docs/rate-distortion.json.
 */
export const H264 = {
  payloadKbps: 26.5,
  wireKbps: 37.6,
  lpips: 0.07,
  size: 256,
  clips: 4,
};
