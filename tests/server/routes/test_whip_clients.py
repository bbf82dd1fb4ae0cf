"""WHIP and WHEP with software of others: FFmpeg's own muxer, and offers shaped like those of OBS and GStreamer."""

from __future__ import annotations

import asyncio
import datetime
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import pytest
from aiortc import RTCRtpSender
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.attacks.live import live_call, of_codec
from tests.server.fakes import until
from tests.server.signalling import Call, accept, connected, offer, peer_connection, running_call

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}

FFMPEG = """
import sys, time
from fractions import Fraction
import av, numpy as np
url, token, profile, seconds, cert, key = sys.argv[1:]
options = {"authorization": token, "handshake_timeout": "20000", "cert_file": cert, "key_file": key}
out = av.open(url, "w", format="whip", options=options)
video = out.add_stream("libx264", rate=30)
video.width, video.height, video.pix_fmt, video.profile = 320, 240, "yuv420p", profile
video.options = {"preset": "veryfast", "tune": "zerolatency", "bf": "0", "g": "15"}
audio = out.add_stream("libopus", rate=48000)
audio.layout = "stereo"
begin, samples = time.monotonic(), 0
for n in range(30 * int(seconds)):
    frame = av.VideoFrame.from_ndarray(np.full((360, 320), 100 + n % 50, np.uint8), format="yuv420p")
    frame.pts, frame.time_base = n, Fraction(1, 30)
    for packet in video.encode(frame):
        out.mux(packet)
    while samples < 1600 * n:
        wave = 6000 * np.sin(np.arange(samples, samples + 960).repeat(2) * 0.06)
        sound = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="stereo")
        sound.sample_rate, sound.pts, sound.time_base = 48000, samples, Fraction(1, 48000)
        samples += 960
        for packet in audio.encode(sound):
            out.mux(packet)
    time.sleep(max(0.0, begin + n / 30 - time.monotonic()))
"""


def has_whip() -> bool:
    """Whether the FFmpeg inside PyAV can publish by WHIP."""
    try:
        av.ContainerFormat("whip", "w")
    except ValueError:
        return False
    return True


def rsa_certificate(folder: Path) -> tuple[str, str]:
    """Paths of a certificate with an RSA key, and of the key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "camera")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(paths[0]), str(paths[1])


@pytest.mark.e2e
@pytest.mark.asyncio
@pytest.mark.skipif(not has_whip(), reason="the FFmpeg inside PyAV has no WHIP muxer")
@pytest.mark.parametrize(("profile", "number"), [("High", 100), ("Main", 77), ("Baseline", 66)])
async def test_ffmpeg_publishes_with_an_rsa_certificate(profile: str, number: int, tmp_path: Path) -> None:
    """Its packets go to a viewer as they are where that viewer takes the profile, sound among them."""
    certificate = rsa_certificate(tmp_path)
    async with asyncio.timeout(100), live_call(limit=100) as (call, publications):
        url, token = str(call.client.make_url("/whip/lobby")), call.token(identity="ffmpeg", name="FFmpeg")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", FFMPEG, url, token, profile, "60", *certificate),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await until(lambda: any(p.state == "live" for p in publications.values()), 60)
            (publication,) = publications.values()
            assert publication.video_codec == "H264"
            await until(lambda: publication.audio_level > -30)
            assert publication._camera._profile == number
            player = peer_connection()
            player.addTransceiver("video", direction="recvonly").setCodecPreferences(of_codec("H264", "VP8"))
            player.addTransceiver("audio", direction="recvonly")
            tracks: dict[str, Any] = {}
            player.on("track", lambda track: tracks.setdefault(track.kind, track))
            path = f"/whep/lobby/{publication.participant}"
            watching = await call.client.post(path, data=await offer(player), headers=call.bearer(identity="v") | SDP)
            assert watching.status == 201
            await accept(player, await watching.text())
            pictures = [await asyncio.wait_for(tracks["video"].recv(), 30) for _ in range(5)]
            assert (pictures[-1].width, pictures[-1].height) == (320, 240)
            sound = [await asyncio.wait_for(tracks["audio"].recv(), 30) for _ in range(20)]
            assert abs(sound[-1].to_ndarray()).max() > 2000
            figures = publication.statistics()
            assert (figures["forwarded"], figures["encoders"]) == (1, 0)
            await player.close()
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def whip(call: Call, sdp: str, identity: str = "obs") -> Any:
    return await call.client.post("/whip/lobby", data=sdp, headers=call.bearer(identity=identity) | SDP)


def place(answer: Any) -> str:
    """Path of the session that was made."""
    return urljoin("/whip/lobby", str(answer.headers["Location"]))


async def camera_offer(audio: bool = True) -> str:
    peer = peer_connection()
    peer.addTransceiver("video", direction="sendonly").setCodecPreferences(of_codec("H264"))
    if audio:
        peer.addTransceiver("audio", direction="sendonly")
    sdp = await offer(peer)
    await peer.close()
    return sdp


def one_payload(sdp: str, fmtp: str | None) -> str:
    """The offer with one H.264 payload type and these format parameters, as encoders that need no choice write it."""
    head, video = sdp.split("m=video", 1)
    video, audio = video.split("m=audio", 1)
    lines = [line for line in video.splitlines() if not re.match(r"a=(rtpmap|fmtp|rtcp-fb):", line)]
    lines[0] = re.sub(r"(SAVPF).*", r"\1 96", lines[0])
    formats = ["a=rtpmap:96 H264/90000", *([f"a=fmtp:96 {fmtp}"] if fmtp else []), "a=rtcp-fb:96 nack pli"]
    return head + "m=video" + "\r\n".join(lines + formats) + "\r\nm=audio" + audio


OBS = "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"

SHAPES = {
    "OBS": OBS,
    "GStreamer, High": "packetization-mode=1;profile-level-id=640028;sprop-parameter-sets=Z2QAKKzZQHgCJ+XA,aOvjyyLA",
    "GStreamer, constrained High": "packetization-mode=1;profile-level-id=640c1f",
    "FFmpeg, Main": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
    "no parameters": None,
    "no profile": "packetization-mode=1",
    "no packetization mode": "profile-level-id=42e01f",
    "packetization mode 0": "packetization-mode=0;profile-level-id=42e01f",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("shape", SHAPES)
async def test_cameras_offer_h264_in_many_shapes(shape: str) -> None:
    async with running_call() as call:
        answer = await whip(call, one_payload(await camera_offer(), SHAPES[shape]))
        text = await answer.text()
        assert answer.status == 201, text
        assert "a=rtpmap:96 H264/90000" in text
        assert "packetization-mode=1" in text
        assert "useinbandfec=1" in text, "whoever sends sound protects it"
        assert (await call.client.delete(place(answer), headers=call.bearer(identity="obs"))).status == 200


@pytest.mark.asyncio
async def test_codecs_that_nobody_could_be_sent_are_415() -> None:
    async with running_call() as call:
        sdp = await camera_offer()
        for strange in (sdp.replace("H264", "AV1"), sdp.replace("opus/48000", "L16/48000")):
            answer = await whip(call, strange)
            assert (answer.status, (await answer.json())["code"]) == (415, "unsupported_media")
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert call.parts.conference.rooms.names() == []


@pytest.mark.asyncio
async def test_a_second_whip_of_the_same_token_replaces_the_first() -> None:
    async with running_call() as call:
        first = await whip(call, await camera_offer())
        other = await whip(call, await camera_offer(), "somebody")
        again = await whip(call, await camera_offer())
        assert [answer.status for answer in (first, other, again)] == [201, 201, 201]
        present = {p.id for p in call.parts.conference.rooms.roster("lobby")}
        assert present == {answer.headers["Location"].rsplit("/", 1)[1] for answer in (other, again)}
        broken = await whip(call, "nonsense")
        assert broken.status == 400
        assert len(call.parts.conference.rooms.roster("lobby")) == 2, "and a bad one replaces nothing"


@pytest.mark.asyncio
async def test_candidates_may_trickle_and_a_restart_is_refused() -> None:
    async with running_call() as call:
        obs = call.bearer(identity="obs")
        sdp = await camera_offer()
        bare = "".join(line for line in sdp.splitlines(True) if "candidate" not in line)
        session = place(await whip(call, bare))
        ufrag = re.search(r"a=ice-ufrag:(\S+)", sdp)
        password = re.search(r"a=ice-pwd:(\S+)", sdp)
        assert ufrag is not None
        assert password is not None
        candidate = "a=candidate:1 1 udp 2130706431 127.0.0.1 50000 typ host\r\n"

        def fragment(name: str, candidates: str = candidate) -> str:
            section = "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
            return f"a=ice-ufrag:{name}\r\na=ice-pwd:{password[1]}\r\n{section}{candidates}"

        async def patch(body: str, **headers: str) -> int:
            answer = await call.client.patch(
                session, data=body, headers=obs | FRAGMENT | {name.replace("_", "-"): v for name, v in headers.items()}
            )
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            return int(answer.status)

        assert await patch(fragment(ufrag[1])) == 204
        assert await patch(fragment(ufrag[1], "a=candidate:1 1 udp 1 0f-1a.local 5000 typ host\r\n")) == 204
        assert await patch(fragment("anew")) == 422
        assert await patch(fragment(ufrag[1]), If_Match="*") == 422
        assert await patch(fragment(ufrag[1]), If_Match='"xyz"') == 412
        assert await patch(fragment(ufrag[1]), Content_Type="application/sdp") == 415
        assert await patch("nonsense") == 400
        assert await patch("a=candidate:nonsense\r\n") == 400
        assert await patch("a=x\r\n" * 10_000) == 413
        assert await patch(fragment(ufrag[1], candidate * 65)) == 400
        for port in range(8):
            status = await patch(fragment(ufrag[1], candidate.replace("50000", str(50_001 + port)) * 10))
            assert status in (204, 400)
        assert status == 400, "64 in all"
        assert (await call.client.patch(session, data="", headers=call.bearer(identity="eve") | FRAGMENT)).status == 403
        assert (await call.client.patch("/whip/lobby/none", data="", headers=obs | FRAGMENT)).status == 404
        preflight = await call.client.options(session)
        assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
        assert preflight.headers["Accept-Patch"] == FRAGMENT["Content-Type"]


@pytest.mark.asyncio
async def test_a_candidate_that_trickles_connects() -> None:
    """The offer has none, as a browser's that does not wait for them."""
    async with running_call() as call:
        camera = peer_connection()
        camera.addTransceiver("audio", direction="sendonly")
        sdp = await offer(camera)
        lines = sdp.splitlines(True)
        answer = await whip(call, "".join(line for line in lines if "candidate" not in line))
        session = place(answer)
        candidates = "".join(line for line in lines if line.startswith("a=candidate"))
        obs = call.bearer(identity="obs")
        assert (await call.client.patch(session, data=candidates, headers=obs | FRAGMENT)).status == 204
        await accept(camera, await answer.text())
        await connected(camera)
        await camera.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_a_player_may_want_sound_or_pictures_alone(kind: str) -> None:
    async with running_call() as call:
        session = place(await whip(call, await camera_offer()))
        player = peer_connection()
        player.addTransceiver(kind, direction="recvonly")
        path = f"/whep/lobby/{session.rsplit('/', 1)[1]}"
        watching = await call.client.post(path, data=await offer(player), headers=call.bearer(identity="v") | SDP)
        assert watching.status == 201
        text = await watching.text()
        assert text.count("m=") == 1
        await accept(player, text)
        await connected(player)
        frame = await asyncio.wait_for(player.getReceivers()[0].track.recv(), 20)
        assert isinstance(frame, av.AudioFrame if kind == "audio" else av.VideoFrame)
        await player.close()


@pytest.mark.asyncio
async def test_every_refusal_can_be_read_by_a_page_of_another_origin() -> None:
    async with running_call() as call:
        for method, path, status in (
            ("POST", "/whip/lobby", 401),
            ("GET", "/whip/lobby", 405),
            ("PUT", "/whep/lobby/x", 405),
            ("POST", "/whep/lobby/x", 401),
            ("DELETE", "/whip/lobby/x", 401),
            ("PATCH", "/whep/lobby/x/y", 401),
        ):
            answer = await call.client.request(method, path, headers={"Origin": "https://elsewhere.example"})
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_the_server_takes_every_profile_that_viewers_might_be_sent() -> None:
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    assert {str(c.parameters["profile-level-id"]) for c in capabilities if c.name == "H264"} >= {"640c1f", "4d001f"}


@pytest.mark.asyncio
async def test_a_viewer_that_comes_before_the_first_packet_is_offered_the_cameras_codec() -> None:
    """H.264 comes after VP8 in the server's own order; the camera would have to be encoded again."""
    async with live_call() as (call, publications):
        session = place(await whip(call, await camera_offer()))
        (publication,) = publications.values()
        assert publication.video_codec == "H264"
        player = peer_connection()
        player.addTransceiver("video", direction="recvonly")
        path = f"/whep/lobby/{session.rsplit('/', 1)[1]}"
        watching = await call.client.post(path, data=await offer(player), headers=call.bearer(identity="v") | SDP)
        assert watching.status == 201
        text = await watching.text()
        assert "H264/90000" in text
        assert "VP8" not in text
        await player.close()
