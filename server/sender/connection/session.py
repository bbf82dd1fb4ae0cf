"""One connection of the sender: join, publish, sources, motion, control. When it is over, another one takes its place.

What outlives a connection is in `Identity`: who we are in the room, and which sources the receiver is known to have.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import WSCloseCode
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from model.errors import BitstreamError, VisavisError
from server.media.aiortc_private import PacketOutlet, close_peer
from server.media.aiortc_transport_private import pace_forward_tsn
from server.sender.connection.heartbeat import PING_EVERY, Heartbeat
from server.sender.connection.loss import Membership, why_closed
from server.sender.connection.motion_publisher import Encoder, MotionPublisher
from server.sender.connection.opus_track import OpusTrack
from server.sender.connection.rate_control import RateControl
from server.sender.connection.reconnect import FIRST_PATIENCE
from server.sender.connection.signalling import ConnectionLostError, RefusedError, Signalling, node_address
from server.sender.connection.uploads import Uploads
from server.sender.media.reader import Clock
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.sound import PACKET_SECONDS, SoundQueue
from server.sender.media.voice_order import VOICE_KBPS
from server.wire.control import (
    NeedSource,
    Ping,
    Pong,
    ReceiverStatistics,
    SenderStages,
    SenderState,
    SourceAnnouncement,
    parse_control,
    send_control,
)
from server.wire.voice_trailer import EXTENSION_URI

logger = logging.getLogger(__name__)

WHY_SECONDS = 0.2

REPORTS_EVERY = 5.0
"""Seconds between sender reports at least, the interval of RFC 3550 section 6.2: the receiver has clocks from pings."""

PICTURE_REFUSED = frozenset({"unusable_image", "no_face", "several_faces", "face", "input"})
"""Codes of a source image that the receiver cannot use; another picture may do."""

LOOK_AHEAD = 0.0065
"""Seconds: of the Opus encoder (RFC 6716 section 2). The first sample of a packet is that and the packet's length old
when it leaves."""

SOUND_AGE = PACKET_SECONDS + LOOK_AHEAD
"""Seconds: before the first packet."""

BROKEN_OFF = 4000
"""Close code (RFC 6455, section 7.4.2: private use) of a sender that means to come back; an orderly one would leave."""


@dataclass
class Identity(Membership):
    """What survives a connection."""

    avatar: bool = False
    sources: dict[int, SourceImage] = field(default_factory=dict)
    """Every source chosen so far, to be attached again without an upload where the receiver still has it."""
    windows: dict[int, WindowUpload] = field(default_factory=dict)
    """The window of each slot, to be uploaded anew to every receiver."""
    uploaded: set[str] = field(default_factory=set)
    """SHA-256 of the sources that were uploaded once."""


class Session:
    """One connection. `open`, then `publish` frames; `lost` is done when it is over; always `close`."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        server: str,
        token: str,
        identity: Identity,
        *,
        encoder: Encoder,
        weights: str,
        sound: SoundQueue | None,
        clock: Clock,
        on_source: Callable[[int, RefusedError | None], None],
        voice_kbps: float = VOICE_KBPS,
        patience: float = FIRST_PATIENCE,
    ) -> None:
        """`patience`: seconds that the server may take for each answer, and then ICE, DTLS and SCTP for theirs.

        `weights`: SHA-256 of those whose motion the encoder gets, hexadecimal
        """
        self._http, self._server, self._token = http, server, token
        self._identity = identity
        self._sound = sound
        self._clock = clock
        self._on_source = on_source
        self._patience = patience
        self._signalling = Signalling(http, server, token, patience)
        self._peer: RTCPeerConnection | None = None
        self._control: RTCDataChannel | None = None
        self._track: OpusTrack | None = None
        self._encoder = encoder
        self._weights = weights
        self.rates = RateControl(encoder.rate, voice_kbps)
        if sound is not None:
            sound.order = self.rates.decision.voice
        self._pinger: asyncio.Task[None] | None = None
        self._offers: set[asyncio.Task[None]] = set()
        self._uploads: Uploads | None = None  # once the room is known
        self._places: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # by index: one picture after another
        self._heartbeat = Heartbeat(clock())
        self._stages_ms: dict[str, float] = {}
        self._joined = False
        self._placing = 0  # uploads under way
        self.publisher: MotionPublisher | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Result: why the connection is over."""
        self.refused: RefusedError | None = None
        """Set when the server refused us: not a picture, but the sender; also when it sent us to another node."""
        self.overloaded = False
        """Whether the server says that it renders slower than it promised."""
        self.statistics: ReceiverStatistics | None = None
        """The receiver's latest, of this stream."""

    @property
    def round_trip(self) -> float | None:
        """Seconds, of the latest ping on the control channel."""
        return self._heartbeat.round_trip

    @property
    def sound_kbps(self) -> float:
        """Opus payload sent."""
        return 8 * self._track.payload.rate(self._clock()) / 1000 if self._track is not None else 0.0

    @property
    def sound_wire_kbps(self) -> float:
        """The same with the headers of IP, UDP, RTP and SRTP."""
        return 8 * self._track.wire.rate(self._clock()) / 1000 if self._track is not None else 0.0

    async def open(self) -> None:
        """Join, connect, and put every known source in place. Raises ConnectionLostError or RefusedError."""
        await self._signalling.connect()
        self._signalling.closed.add_done_callback(lambda future: self._lose(future.result()))
        self._signalling.on_message = self._on_message
        answer = await self._join()
        self._set_overloaded(answer.get("overloaded") is True)
        await self._connect(answer.get("ice_servers") or [])
        self._heartbeat.heard(self._clock())
        self._pinger = asyncio.create_task(self._ping(), name="visavis-ping")
        self._joined = True
        await asyncio.gather(*(self._place(source) for source in self._identity.sources.values()))
        for window in self._identity.windows.values():
            self.offer_window(window)

    async def _join(self) -> dict[str, Any]:
        identity = self._identity
        fields: dict[str, Any] = {"room": identity.room, "name": identity.name, "client": "daemon"}
        if identity.resume is not None:
            fields["resume"] = identity.resume
        answer = await self._signalling.request("join", **fields)
        identity.participant, identity.resume = str(answer["participant"]), str(answer["resume"])
        # Behind a load balancer the server's address is any node's; uploads are for the one that has the room.
        server = node_address(answer.get("node")) or self._server
        participant = f"{server}/rooms/{identity.room}/participants/{identity.participant}"
        self._uploads = Uploads(self._http, participant, self._token, self.rates, lambda: not identity.uploaded)
        await self._signalling.request("state", muted=self._sound is None, camera_off=False, avatar=identity.avatar)
        return answer

    async def _connect(self, ice_servers: list[dict[str, Any]]) -> None:
        servers = [RTCIceServer(entry["urls"], entry.get("username"), entry.get("credential")) for entry in ice_servers]
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        motion = peer.createDataChannel("motion", ordered=False, maxRetransmits=0)
        control = self._control = peer.createDataChannel("control")
        publisher = self.publisher = MotionPublisher(self._encoder, motion, self.rates)
        opened = asyncio.get_running_loop().create_future()

        def on_open() -> None:
            if motion.readyState == control.readyState == "open" and not opened.done():
                opened.set_result(None)

        motion.on("open", on_open)
        control.on("open", on_open)
        motion.on("message", self._on_answer)
        motion.on("bufferedamountlow", lambda: publisher.drained(self._clock()))
        control.on("message", self._on_control)
        control.on("close", lambda: self._lose("the receiver closed the connection"))

        def on_state() -> None:
            if peer.connectionState in ("failed", "closed"):
                self._lose(f"the connection {peer.connectionState}")

        peer.on("connectionstatechange", on_state)
        if self._sound is not None:
            self._track = OpusTrack(self._sound, self._clock, publisher, self.rates)
            sender = peer.addTransceiver(self._track, direction="sendonly").sender
            PacketOutlet(
                sender,
                self._clock,
                on_answer=self._on_answer,
                on_loss=self._on_loss,
                reports_every=REPORTS_EVERY,
            )
        await peer.setLocalDescription(await peer.createOffer())
        pace_forward_tsn(peer, self._clock)
        answer = await self._signalling.request("publish", sdp=peer.localDescription.sdp, weights=self._weights)
        try:
            await peer.setRemoteDescription(RTCSessionDescription(str(answer["sdp"]), "answer"))
        except (ValueError, KeyError) as error:
            raise ConnectionLostError(f"the server's answer is unusable: {error}") from None
        publisher.trailers = self._sound is not None and EXTENSION_URI in str(answer["sdp"])
        await asyncio.wait((opened, self.lost), timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        if self.lost.done():
            raise ConnectionLostError(self.lost.result())
        if not opened.done():
            raise ConnectionLostError("no way to the receiver: its UDP ports do not answer")

    def publish(self, sample: MotionSample, stages: StageTimes) -> None:
        """One frame's motion."""
        if self.publisher is None or self._control is None or self.lost.done():
            return
        begin = self._clock()
        self.publisher.publish(sample, begin)
        self._stages_ms = {
            "capture": 1000 * stages.capture,
            "extract": 1000 * stages.extract,
            "encode": 1000 * (self._clock() - begin),
        }
        if self._track is not None:
            self._stages_ms["audio"] = 1000 * ((self._track.packet_seconds or PACKET_SECONDS) + LOOK_AHEAD)

    def pause(self, paused: bool) -> None:
        """Let the receiver know that no frames come for a while, or that they do again."""
        if paused and self.publisher is not None:
            self.publisher.pause(self._clock())
        send_control(self._control, SenderState(paused))

    def offer_source(self, source: SourceImage) -> None:
        """Bring a further source to the receiver in the background; `on_source` is called when it is there, or refused.

        Before the connection stands this does nothing: `open` places all sources of the identity.
        """
        if not self._joined:
            return
        task = asyncio.create_task(self._offer(source), name=_task_name(source))
        self._offers.add(task)
        task.add_done_callback(self._offers.discard)

    def offer_window(self, window: WindowUpload) -> None:
        """Bring a window to the receiver in the background.

        Before the connection stands this does nothing: `open` offers all windows of the identity.
        """
        if self._joined and self._uploads is not None:
            self._uploads.window(window)

    async def _offer(self, source: SourceImage) -> None:
        try:
            await self._place(source)
        except RefusedError as error:
            self.refused = error
            self._lose(str(error))
        except ConnectionLostError as error:
            self._lose(str(error))

    async def _place(self, source: SourceImage) -> None:
        """Attach the source from the receiver's cache, or upload it, unless another picture has its place meanwhile."""
        async with self._places[source.index]:
            if self._identity.sources.get(source.index) is source:
                await self._bring(source)

    async def _bring(self, source: SourceImage) -> None:
        assert self._uploads is not None, "sources are placed in a room"
        known = source.sha256 in self._identity.uploaded
        self._placing += 1
        try:
            if not (known and await self._uploads.source(source, attach=True)):
                await self._uploads.source(source, attach=False)
                self._identity.uploaded.add(source.sha256)
        except RefusedError as error:
            if error.code not in PICTURE_REFUSED:
                raise
            self._on_source(source.index, error)
            return
        finally:
            self._placing -= 1
        send_control(self._control, SourceAnnouncement(source.index, source.sha256))
        self._on_source(source.index, None)

    async def _ping(self) -> None:
        while not self.lost.done():
            now = self._clock()
            if self._placing:
                # The upload has a time limit of its own, and the first picture may keep a cold receiver busy.
                self._heartbeat.heard(now)
            elif self._heartbeat.gone(now):
                self._lose("the receiver is silent")
                return
            if self._heartbeat.due():
                send_control(self._control, Ping(self._heartbeat.ping(now), 1000 * now))
                if self._stages_ms:
                    send_control(self._control, SenderStages(self._stages_ms))
            await asyncio.sleep(PING_EVERY)

    def _on_answer(self, data: bytes | str) -> None:
        now = self._clock()
        self._heartbeat.heard(now)
        if self.publisher is not None:
            self.publisher.receive(data, now)
            self._order_voice()

    def _on_loss(self, share: float) -> None:
        self.rates.lost(share)
        self._order_voice()

    def _order_voice(self) -> None:
        if self._sound is not None:
            self._sound.order = self.rates.decision.voice

    def _on_control(self, data: bytes | str) -> None:
        now = self._clock()
        self._heartbeat.heard(now)
        try:
            message = parse_control(data)
        except BitstreamError as error:
            logger.debug("control channel: %s", error)
            return
        match message:
            case Ping(n, sent_ms):
                send_control(self._control, Pong(n, sent_ms, 1000 * now))
            case Pong(n=n):
                self._heartbeat.pong(n, now)
                if self._heartbeat.round_trip is not None:
                    self.rates.measured(self._heartbeat.round_trip, now)
            case NeedSource(sha256):
                self._needed(sha256)
            case ReceiverStatistics():
                self.statistics = message
            case _:
                pass  # of a later version, or what only a sender says

    def _needed(self, sha256: str) -> None:
        """The receiver lost a source (its cache is bounded): upload it again."""
        self._identity.uploaded.discard(sha256)
        for source in self._identity.sources.values():
            if source.sha256 == sha256 and not any(
                task.get_name().endswith(f"-{source.index}") for task in self._offers
            ):
                self.offer_source(source)

    def _set_overloaded(self, overloaded: bool) -> None:
        if overloaded != self.overloaded:
            logger.warning("the server is overloaded" if overloaded else "the server has caught up")
        self.overloaded = overloaded

    def _on_message(self, message: dict[str, Any]) -> None:
        if message.get("type") == "load":
            self._set_overloaded(message.get("overloaded") is True)
        if message.get("type") == "resume":
            self._identity.resume = str(message.get("resume"))
        if message.get("type") == "closed":
            self.refused = why_closed(message) or self.refused
            self._lose(f"the server says: {message.get('reason') or 'closed'}")

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    async def hear_why(self) -> None:
        """Once it is lost, a moment for the server to say why: the end of the media may come before its message."""
        await asyncio.wait((self._signalling.closed,), timeout=WHY_SECONDS)

    async def leave(self) -> None:
        """Say goodbye, so that the roster forgets us at once."""
        try:
            async with asyncio.timeout(2.0):
                await self._signalling.request("leave")
        except (VisavisError, TimeoutError) as error:
            logger.debug("leaving: %s", error)

    async def close(self, coming_back: bool = False) -> None:
        """End everything of this connection; may be called twice. `coming_back`: we keep our place in the roster."""
        self._lose("closed")
        tasks = [task for task in (self._pinger, *self._offers) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._uploads is not None:
            await self._uploads.close()
        await self._signalling.close(BROKEN_OFF if coming_back else WSCloseCode.OK)
        if self._peer is not None:
            await close_peer(self._peer)


def _task_name(source: SourceImage) -> str:
    return f"visavis-source-{source.index}"
