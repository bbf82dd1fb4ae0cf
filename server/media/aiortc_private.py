"""What visavis needs of aiortc's media beyond its public interface; tests compare it with aiortc 1.16.

- `PacketInlet`: incoming RTP as packets. aiortc's receivers decode all that comes, on a thread whose queue has no bound
  and which their `stop` joins on the event loop.
- `PacketOutlet`: outgoing RTP whose track yields packets that are numbered and encoded already.
- `transported_bytes`, `close_peer`: traffic, and an orderly end.

On import, aiortc's table of codecs is extended by the profiles of H.264 that cameras of others send, and by what Opus
is asked for (in-band FEC, RFC 7587 section 6.1); its header extensions of sound by the one that marks motion behind the
voice (`server/wire/voice_trailer.py`).
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, cast

import av
from aiortc import (
    MediaStreamTrack,
    RTCPeerConnection,
    RTCRtpCodecParameters,
    RTCRtpReceiver,
    RTCRtpSender,
    clock,
    codecs,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpSrPacket,
    RtpPacket,
    pack_remb_fci,
    unpack_remb_fci,
    unwrap_rtx,
    wrap_rtx,
)

from model.errors import BitstreamError
from server.media.codec_table import extend_codecs, payload_type_of
from server.media.media_packet import MediaPacket
from server.media.pacer import Pacer, PausedPictures
from server.media.rtp_feedback import MissingPackets, RetransmissionBudget
from server.media.rtp_numbers import RtpNumbers, random_numbers
from server.media.rtp_payload import Vp8Numbers
from server.media.srtp_sources import MAX_STREAMS
from server.media.trailer_extension import answer_packet, extend_header_extensions, mark_trailer, split_trailer
from server.wire.voice_trailer import cut_marked, unpack_answer

_CANCEL_AGAIN_SECONDS = 0.2
"""Time in which a cancelled handshake ends unless it missed that it was cancelled."""

STREAM_SILENT_SECONDS = 0.5
"""A track's packets are those of one stream; another takes over when it has been silent for so long (simulcast)."""

HISTORY_PACKETS = 256
"""Packets of one outgoing stream that can be sent again."""

extend_codecs()
extend_header_extensions()


class PacketInlet:
    """A `PacketSource`: the packets of one receiver, in the order of arrival, and feedback to whoever sends them.

    Make it before the connection is established, for every receiver: one that nobody reads then drops what comes.
    Lost packets of video are asked for again; whoever reads has to cope with gaps and late packets all the same.
    """

    def __init__(self, receiver: RTCRtpReceiver, codec: str, now: Callable[[], float], marked: bool = False) -> None:
        """`codec`: what was negotiated first; `marked`: each payload ends with the length of its trailer."""
        self.on_packet: Callable[[MediaPacket], None] | None = None
        self.on_trailer: Callable[[bytes], None] | None = None
        self._receiver = cast(Any, receiver)
        self._now = now
        self._codec = codec
        self.reads_answers = not marked
        self._kind: Literal["audio", "video"] = "audio" if receiver.track.kind == "audio" else "video"
        self._codecs: dict[int, RTCRtpCodecParameters] = {}
        self._rtx: dict[int, int] = {}
        self._stream: int | None = None  # SSRC
        self._heard = float("-inf")
        self._missing = MissingPackets()
        self._limit: int | None = None
        self._limit_sent = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._receiver.receive = self._receive
        self._receiver._handle_rtp_packet = self._handle

    @property
    def kind(self) -> Literal["audio", "video"]:
        """What it carries."""
        return self._kind

    @property
    def codec(self) -> str:
        """What is expected, before anything has come: opus, VP8 or H264."""
        return self._codec

    def request_keyframe(self) -> None:
        """Ask for a keyframe at once; nothing before the first packet."""
        if self._stream is not None:
            self._send(self._receiver._send_rtcp_pli(self._stream))

    def limit_bitrate(self, bits_per_second: int | None) -> None:
        """Most that whoever sends may spend; sent once a second."""
        if bits_per_second != self._limit:
            self._limit, self._limit_sent = bits_per_second, float("-inf")

    def answer_trailer(self, answer: bytes) -> None:
        """Send an acknowledgement of motion to whoever sends; nothing before the first packet."""
        own = self._receiver._RTCRtpReceiver__rtcp_ssrc
        if self._stream is not None and own is not None:
            self._send(self._receiver._send_rtcp(answer_packet(own, self._stream, answer)))

    def _send(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self, parameters: Any) -> None:
        """In place of aiortc's: the same without a decoder's thread."""
        receiver = self._receiver
        if receiver._RTCRtpReceiver__started:
            return
        self._codecs = {codec.payloadType: codec for codec in parameters.codecs}
        self._rtx = {encoding.rtx.ssrc: encoding.ssrc for encoding in parameters.encodings if encoding.rtx}
        receiver.transport._register_rtp_receiver(receiver, parameters)
        receiver._RTCRtpReceiver__rtcp_task = asyncio.ensure_future(receiver._run_rtcp())
        receiver._RTCRtpReceiver__started = True

    async def _handle(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        codec = self._codecs.get(packet.payload_type)
        if codec is None or (self.on_packet is None and self.on_trailer is None):
            return
        streams: dict[int, StreamStatistics] = self._receiver._RTCRtpReceiver__remote_streams
        if packet.ssrc not in streams:
            streams[packet.ssrc] = StreamStatistics(codec.clockRate)
        streams[packet.ssrc].add(packet)
        now = self._now()
        await self._estimate(packet, arrival_time_ms, now)
        if codecs.is_rtx(codec):
            apt, ssrc = codec.parameters.get("apt"), self._rtx.get(packet.ssrc)
            if ssrc is None or len(packet.payload) < 2 or not isinstance(apt, int) or apt not in self._codecs:
                return
            packet, codec = unwrap_rtx(packet, payload_type=apt, ssrc=ssrc), self._codecs[apt]
        if packet.ssrc != self._stream:
            if self._stream is not None and now - self._heard < STREAM_SILENT_SECONDS:
                return
            self._stream, self._missing = packet.ssrc, MissingPackets()
        self._heard = now
        if self._kind == "video":
            lost = self._missing.add(packet.sequence_number, now)
            if lost:
                await self._receiver._send_rtcp_nack(packet.ssrc, sorted(lost))
        try:
            payload, trailer = split_trailer(packet) if self.reads_answers else cut_marked(packet.payload)
        except BitstreamError:
            return
        if trailer and self.on_trailer is not None:
            self.on_trailer(trailer)
        if not payload or self.on_packet is None:
            return  # without payload it is padding, sent to probe the line
        said, marker = packet.extensions.audio_level, bool(packet.marker)
        level = None if said is None else said[1]
        self.on_packet(MediaPacket(payload, packet.sequence_number, packet.timestamp, marker, codec.name, level=level))

    async def _estimate(self, packet: RtpPacket, arrival_time_ms: int, now: float) -> None:
        """Tell the sender what its line carries, or less where less is wanted."""
        estimator = self._receiver._RTCRtpReceiver__remote_bitrate_estimator
        own = self._receiver._RTCRtpReceiver__rtcp_ssrc
        if estimator is None or own is None:
            return
        rate = None
        if packet.extensions.abs_send_time is not None:
            rate = estimator.add(
                abs_send_time=packet.extensions.abs_send_time,
                arrival_time_ms=arrival_time_ms,
                payload_size=len(packet.payload) + packet.padding_size,
                ssrc=packet.ssrc,
            )
        if self._limit is not None and now - self._limit_sent >= 1.0:
            rate = rate or (self._limit, [packet.ssrc])
        if rate is None:
            return
        bits = rate[0]
        if self._limit is not None:
            bits, self._limit_sent = min(bits, self._limit), now
        fci = pack_remb_fci(bits, rate[1][:MAX_STREAMS])
        await self._receiver._send_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=own, media_ssrc=0, fci=fci))


def inlet_of(
    peer: RTCPeerConnection, track: MediaStreamTrack, now: Callable[[], float], marked: bool = False
) -> PacketInlet:
    """The inlet in place of the receiver that has this track; call it on the connection's `track` event."""
    transceiver = next(t for t in peer.getTransceivers() if t.receiver.track is track)
    return PacketInlet(transceiver.receiver, cast(Any, transceiver)._codecs[0].name, now, marked)


class PacketOutlet:
    """Sends what the track of one sender yields: a `MediaPacket` as it is, an `av.Packet` split into packets.

    Sequence numbers and timestamps go on over changes between the two. Make it before the connection is established.
    `on_keyframe()` is called on every PLI or FIR, `on_bitrate(bits_per_second)` on every REMB for this sender,
    `on_answer(bytes)` on every answer to a trailer, `on_loss(share)` on every report of how many packets were lost.
    """

    def __init__(
        self,
        sender: RTCRtpSender,
        now: Callable[[], float],
        on_keyframe: Callable[[], None] = lambda: None,
        on_bitrate: Callable[[int], None] = lambda _rate: None,
        on_answer: Callable[[bytes], None] = lambda _answer: None,
        on_loss: Callable[[float], None] = lambda _share: None,
        reports_every: float = 0.0,
    ) -> None:
        """`reports_every`: seconds between sender reports at least; aiortc sends one a second."""
        self._sender = cast(Any, sender)
        self._now = now
        self._codecs: list[RTCRtpCodecParameters] = []
        self._budget = RetransmissionBudget()
        self._pacer = Pacer() if sender.kind == "video" else None
        self._pauses = None if self._pacer is None else PausedPictures(self._pacer, on_keyframe, on_bitrate)
        self.on_left_out: Callable[[], None] = lambda: None  # an encoded picture was not sent, or not to its end
        self._on_bitrate = on_bitrate
        self._history: dict[int, RtpPacket] = {}
        self._encoder: Any = None
        self._encoding = False  # whether what went out last was encoded here
        self._count = 0  # packets since then
        self._numbers = RtpNumbers(48_000 if sender.kind == "audio" else 90_000, *random_numbers())
        self._pictures = Vp8Numbers(random.randrange(1 << 15))
        self._rtx_sequence = random_numbers()[0]
        self._send: Callable[[Any], Awaitable[None]] = self._sender.send
        self._sender.send = self._start
        self._sender._run_rtp = self._run
        self._sender._retransmit = self._retransmit
        self._sender._send_keyframe = on_keyframe
        _route_feedback(sender, self._estimated, on_answer, on_loss)
        self._reports_every, self._reported = reports_every, float("-inf")
        self._send_rtcp: Callable[[Any], Awaitable[None]] = self._sender._send_rtcp
        self._sender._send_rtcp = self._report

    def payload_type(self, codec: str, profile: int | None = None) -> int | None:
        """The payload type under which the other side takes this codec, and this profile_idc of H.264."""
        return payload_type_of(self._codecs, codec, profile)

    async def _start(self, parameters: Any) -> None:
        self._codecs = list(parameters.codecs)
        await self._send(parameters)

    async def _run(self, codec: RTCRtpCodecParameters) -> None:
        """In place of aiortc's loop, which numbers packets itself."""
        sender = self._sender
        sender._RTCRtpSender__rtp_started.set()
        try:
            track = sender.track
            while True:
                item = await track.recv()
                now = self._now()
                encoded = isinstance(item, av.Packet)
                if encoded and self._leaves_out(item.is_keyframe, now):
                    continue
                for packet in self._encoded(item, codec, now) if encoded else self._as_is(item, now):
                    if self._pacer is not None and (wait := self._pacer.wait(len(packet.payload), self._now())):
                        await asyncio.sleep(wait)
                        if encoded and self._pauses_now() and self._leaves_out(False, self._now()):
                            break  # a picture that has begun can only be half
                    packet.ssrc = sender._ssrc
                    packet.extensions.abs_send_time = (clock.current_ntp_time() >> 14) & 0x00FFFFFF
                    packet.extensions.mid = sender._RTCRtpSender__mid
                    data = packet.serialize(sender._RTCRtpSender__rtp_header_extensions_map)
                    self._remember(packet)
                    self._budget.sent(len(data))
                    await sender.transport._send_rtp(data)
                    sender._RTCRtpSender__ntp_timestamp = clock.current_ntp_time()
                    sender._RTCRtpSender__rtp_timestamp = packet.timestamp
                    sender._RTCRtpSender__octet_count += len(packet.payload)
                    sender._RTCRtpSender__packet_count += 1
        except (asyncio.CancelledError, ConnectionError, MediaStreamError):
            pass
        finally:
            # `stop` waits for this: without it the connection would never close.
            if sender.track is not None:
                sender.track.stop()
            self._history.clear()
            sender._RTCRtpSender__rtp_exited.set()

    def _estimated(self, bits_per_second: int) -> None:
        if self._pacer is not None:
            self._pacer.estimate(bits_per_second, self._now())
            if self._pauses_now():
                return
            if self._encoding:  # a camera is told what came
                bits_per_second = self._pacer.carries(self._now()) or bits_per_second
        self._on_bitrate(bits_per_second)

    def _pauses_now(self) -> bool:
        """Whether pictures that are encoded here pause."""
        return self._encoding and self._pacer is not None and self._pacer.pauses(self._now())

    def _leaves_out(self, keyframe: bool, now: float) -> bool:
        """Whether an encoded picture is not sent, or not to its end."""
        if out := self._pauses is not None and self._pauses.leaves_out(keyframe, now):
            self.on_left_out()
        return out

    async def _report(self, packets: list[Any]) -> None:
        if any(isinstance(packet, RtcpSrPacket) for packet in packets):
            if self._now() - self._reported < self._reports_every:
                return
            self._reported = self._now()
        await self._send_rtcp(packets)

    def _as_is(self, item: MediaPacket, now: float) -> list[RtpPacket]:
        kind = self.payload_type(item.codec, item.profile)
        if kind is None:
            return []  # negotiated otherwise meanwhile
        restart = item.restart or self._encoding
        self._encoding = False
        payload = item.payload
        if item.codec == "VP8":
            payload = self._pictures.outgoing(payload, restart)
        if restart:
            self._numbers.restart(item.sequence, item.timestamp, now)
        sequence, timestamp = self._numbers.outgoing(item.sequence, item.timestamp, now)
        packet = RtpPacket(kind, int(item.marker), sequence, timestamp, payload=payload + item.trailer)
        mark_trailer(packet.extensions, len(item.trailer))
        if item.level is not None:
            packet.extensions.audio_level = (False, item.level)
        return [packet]

    def _encoded(self, item: Any, codec: RTCRtpCodecParameters, now: float) -> list[RtpPacket]:
        if self._encoder is None:
            self._encoder = codecs.get_encoder(codec)
        if codec.name == "VP8":
            self._encoder.picture_id = self._pictures.next_picture_id
        payloads, timestamp = self._encoder.pack(item)
        if codec.name == "VP8":
            self._pictures.next_picture_id = self._encoder.picture_id
        timestamp %= 1 << 32
        if not self._encoding:
            self._encoding = True
            self._numbers.restart(0, timestamp, now)
            self._count = 0
        packets = []
        for number, payload in enumerate(payloads, 1):
            sequence, out = self._numbers.outgoing(self._count % (1 << 16), timestamp, now)
            self._count += 1
            packets.append(
                RtpPacket(int(codec.payloadType or 0), int(number == len(payloads)), sequence, out, payload=payload)
            )
        return packets

    def _remember(self, packet: RtpPacket) -> None:
        self._history.pop(packet.sequence_number, None)
        self._history[packet.sequence_number] = packet
        if len(self._history) > HISTORY_PACKETS:
            del self._history[next(iter(self._history))]

    async def _retransmit(self, sequence_number: int) -> None:
        """Answer one lost packet of a NACK, as RFC 4588 says where it was negotiated, within the budget."""
        packet = None if self._pauses_now() else self._history.get(sequence_number)  # a keyframe follows a pause
        if packet is None or not self._budget.take(len(packet.payload) + 20):
            return
        for codec in self._codecs:
            if codecs.is_rtx(codec) and codec.parameters.get("apt") == packet.payload_type:
                packet = wrap_rtx(packet, int(codec.payloadType or 0), self._rtx_sequence, self._sender._rtx_ssrc)
                self._rtx_sequence = (self._rtx_sequence + 1) % (1 << 16)
                break
        await self._sender.transport._send_rtp(packet.serialize(self._sender._RTCRtpSender__rtp_header_extensions_map))


def _route_feedback(
    sender: Any,
    on_bitrate: Callable[[int], None],
    on_answer: Callable[[bytes], None],
    on_loss: Callable[[float], None],
) -> None:
    """Call `on_bitrate` on every REMB, `on_answer` on every answer; NACKs and reports go their ordinary way, too."""
    handle: Callable[[Any], Awaitable[None]] = sender._handle_rtcp_packet
    ssrc: int = sender._ssrc

    async def handle_rtcp_packet(packet: Any) -> None:
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                answer = unpack_answer(packet.fci)
                if answer is not None:
                    on_answer(answer)
                    return
                bitrate, ssrcs = unpack_remb_fci(packet.fci)
            except (ValueError, struct.error, BitstreamError):
                return  # some other application-layer feedback
            if ssrc in ssrcs:
                on_bitrate(bitrate)
            return
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == ssrc:
                    on_loss(report.fraction_lost / 256)  # RFC 3550 section 6.4.1
        await handle(packet)

    sender._handle_rtcp_packet = handle_rtcp_packet


def rtp_timestamp(sender: RTCRtpSender) -> int:
    """RTP timestamp of the packet that this sender sent last; 0 before the first."""
    return int(sender._RTCRtpSender__rtp_timestamp)  # type: ignore[attr-defined]


def transported_bytes(peer: RTCPeerConnection) -> tuple[int, int]:
    """Bytes of DTLS, SRTP and SRTCP that came in and that went out, closed or not."""
    transports = cast(Any, peer)._RTCPeerConnection__dtlsTransports
    received = sum(transport._RTCDtlsTransport__rx_bytes for transport in transports)
    return received, sum(transport._RTCDtlsTransport__tx_bytes for transport in transports)


async def close_peer(peer: RTCPeerConnection) -> None:
    """Close a peer connection, also while it still connects.

    aiortc connects in a task that it forgets. `close` stops the receivers first, so a handshake that completes at that
    moment starts them anew and nothing stops them again; or the task fails and nobody reads its error. Here the task is
    ended first.
    """
    connecting = {task for task in asyncio.all_tasks() if _connects(task, peer)}
    while connecting:
        # More than once: the handshake waits in `asyncio.wait_for`, which before Python 3.12 loses a cancellation when
        # a datagram arrives in the same turn of the loop. A handshake that missed it would go on for ever.
        for task in connecting:
            task.cancel()
        ended, connecting = await asyncio.wait(connecting, timeout=_CANCEL_AGAIN_SECONDS)
        for task in ended:
            if not task.cancelled():
                task.exception()  # read: its failure is no news for a connection that is being closed
    await peer.close()


def _connects(task: asyncio.Task[Any], peer: RTCPeerConnection) -> bool:
    coroutine: Any = task.get_coro()
    if getattr(coroutine, "__qualname__", "") != "RTCPeerConnection.__connect" or coroutine.cr_frame is None:
        return False
    return coroutine.cr_frame.f_locals.get("self") is peer
