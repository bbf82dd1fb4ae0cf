"""A camera that sends more, or larger pictures, than can be decoded: memory stays bounded and the loop goes on."""

from __future__ import annotations

import asyncio
import threading
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from server.media.camera_decoder import MAX_SIDE, MAX_WAITING, CameraDecoder
from server.media.encoder import VideoEncoder
from server.media.media_packet import MediaPacket
from tests.attacks.live import EncodedVideo, live_call, of_codec
from tests.server.fakes import FakeCamera, until
from tests.server.signalling import accept, connected, offer, peer_connection


def vp8_frame(width: int, height: int) -> bytes:
    """A keyframe whose header names this size; what follows is of a small one and would be decoded all the same."""
    frame = VideoEncoder("VP8", 300_000).encode(np.full((96, 64), 128, np.uint8), 0, keyframe=True)
    assert frame is not None
    return frame.data[:6] + width.to_bytes(2, "little") + height.to_bytes(2, "little") + frame.data[10:]


def h264_frame(width: int, height: int) -> bytes:
    """A sequence parameter set of this size, made by hand, and the beginning of a picture."""
    bits = f"{66:08b}{0xE0:08b}{62:08b}" + "1" + "1" + "1" + "1" + "010" + "0"
    for side in (width // 16 - 1, height // 16 - 1):
        code = f"{side + 1:b}"
        bits += "0" * (len(code) - 1) + code
    bits += "1" + "1" + "0" + "0" + "1"
    bits += "0" * (-len(bits) % 8)
    start = b"\x00\x00\x00\x01"
    sequence = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return start + b"\x67" + sequence + start + b"\x68\xce\x3c\x80" + start + b"\x65" + bytes(range(1, 200))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("codec", "frame"), [("VP8", vp8_frame(7680, 4320)), ("H264", h264_frame(7680, 4320))], ids=["VP8", "H264"]
)
async def test_pictures_of_8k_are_refused_before_they_are_decoded(
    codec: str, frame: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The viewer wants the other codec, so that they would have to be decoded for it."""
    async with asyncio.timeout(60), live_call() as (call, publications):
        ada, me = await call.join("Ada")
        bob, _ = await call.join("Bob")
        camera, viewer = peer_connection(), peer_connection()
        track = EncodedVideo([frame], 0.002)
        camera.addTransceiver(track, direction="sendonly").setCodecPreferences(of_codec(codec))
        answer = await ada.request("publish", sdp=await offer(camera))
        await accept(camera, answer["sdp"])
        await connected(camera)
        viewer.addTransceiver("video", direction="recvonly").setCodecPreferences(
            of_codec("H264" if codec == "VP8" else "VP8")
        )
        answer = await bob.request("subscribe", participant=me["participant"], sdp=await offer(viewer))
        await accept(viewer, answer["sdp"])
        await connected(viewer)
        publication = publications[me["participant"]]
        await until(lambda: track.sent > 250)
        await until(lambda: publication.statistics()["refused"] is not None)
        figures = publication.statistics()
        assert figures["refused"] == f"pictures of 7680x4320 are larger than {MAX_SIDE}x{MAX_SIDE}"
        assert publication._broadcast.counters.encoded == 0
        assert figures["state"] == "waiting"
        assert [r.message for r in caplog.records if "7680x4320" in r.message] == [
            f"a camera is not shown: {figures['refused']}"
        ]
        # The test's own viewer decodes; the server has no thread for it.
        assert not [t for t in threading.enumerate() if t.name.startswith("video-decoder_")]
        await camera.close()
        await viewer.close()
        assert (await call.client.get("/healthz")).status == 200


class SlowDecoder(CameraDecoder):
    """Decodes nothing until it may."""

    gate: threading.Event

    def _decode(self, frame: Any) -> None:
        assert self.gate.wait(30)


@pytest.mark.asyncio
async def test_a_decoder_that_is_behind_drops_to_the_next_keyframe_and_closing_does_not_hold_up_the_loop() -> None:
    async with asyncio.timeout(60):
        asked: list[float] = []
        now = 0.0
        decoder = SlowDecoder(lambda _: None, lambda: asked.append(now), lambda: now, 0.02)
        decoder.gate = threading.Event()
        camera = FakeCamera("VP8")
        most = 0
        for number in range(400):
            now = number / 30
            for place, packet in enumerate(camera.frame(keyframe=number == 0)):
                decoder.packet(packet, number == 0 and place == 0)
            most = max(most, len(decoder._waiting))
            await asyncio.sleep(0)
        assert most <= MAX_WAITING
        assert decoder.dropped > 0
        assert asked, "nothing can be decoded before a keyframe"
        waiting = len(decoder._waiting)
        for packet in camera.frame():
            decoder.packet(packet, False)
        assert len(decoder._waiting) == waiting, "up to which everything is left out"
        closing = asyncio.create_task(decoder.close())
        turns = 0
        while turns < 100:
            await asyncio.sleep(0)
            turns += 1
        assert not closing.done(), "it waits for the frame in the decoder, and the loop turned meanwhile"
        decoder.gate.set()
        await closing
        assert len(decoder._waiting) == 0


@pytest.mark.asyncio
async def test_what_never_becomes_a_frame_is_bounded() -> None:
    """Packets without an end, and packets of a frame whose beginning was lost."""
    async with asyncio.timeout(30):
        decoder = CameraDecoder(lambda _: None, lambda: None, lambda: 0.0, 0.02)
        start = FakeCamera("VP8").frame(keyframe=True)[0]
        for number in range(5000):
            payload = start.payload if number == 0 else b"\x00" + bytes(1000)
            decoder.packet(MediaPacket(payload, number % 65_536, 0, False, "VP8"), number == 0)
            assert len(decoder._assembly._packets) <= 512
        await decoder.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_large_picture_behind_a_small_header_is_not_decoded(codec: str) -> None:
    """The whole frame is looked at again: what one packet hides, such as a fragment, another may complete."""
    async with asyncio.timeout(30):
        decoder = CameraDecoder(lambda _: None, lambda: None, lambda: 0.0, 0.02)
        if codec == "VP8":
            frame = vp8_frame(4000, 64)
            packets = [b"\x10" + frame[:7], b"\x00" + frame[7:]]
        else:
            unit = h264_frame(4096, 64).split(b"\x00\x00\x00\x01")[1]
            small = h264_frame(64, 64).split(b"\x00\x00\x00\x01")[1]
            packets = [small, b"\x7c\x87" + unit[1:5], b"\x7c\x47" + unit[5:]]
        for number, payload in enumerate(packets):
            last = number == len(packets) - 1
            decoder.packet(MediaPacket(payload, number, 0, last, codec), number == 0)
        assert len(decoder._waiting) == 0
        assert decoder.decoded == 0
        await decoder.close()


def test_sizes_are_read_as_the_decoder_reads_them() -> None:
    from server.media.rtp_payload import h264_keyframes, vp8_keyframe

    for width, height in ((64, 64), (162, 120), (1918, 1080), (640, 362)):
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        vp8 = VideoEncoder("VP8", 300_000).encode(planes, 0)
        assert vp8 is not None
        start = vp8_keyframe(vp8.data)
        assert start is not None
        assert (start.width, start.height) == (width, height)
        for profile, number in (("Baseline", 66), ("Main", 77), ("High", 100)):
            context: Any = av.CodecContext.create("libx264", "w")
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.time_base = Fraction(1, 30)
            context.profile = profile
            context.options = {"preset": "ultrafast", "tune": "zerolatency"}
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            data = b"".join(bytes(packet) for packet in context.encode(frame))
            (start,) = h264_keyframes(data)
            assert (start.width, start.height) == (width, height)
            assert start.profile in (number, 66), "x264 writes the least that the options need"
