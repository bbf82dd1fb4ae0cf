"""`/ws`: one WebSocket per participant, JSON requests in, answers and events out."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections import deque
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from model.errors import VisavisError
from server.auth import Claims
from server.awake_clock import AwakeClock
from server.errors import ConflictError, NotFoundError, ProtocolError, TooManyRequestsError, code_of
from server.rate_limit import RateLimit
from server.routes.parts import Parts, parts_of
from server.routes.pools import Pools, pools_of
from server.signalling import protocol
from server.signalling.participant import Participant
from server.signalling.room_statistics import room_statistics

logger = logging.getLogger(__name__)

PING_SECONDS = 1.0
"""Several pings fit into the silence after which a participant is gone."""
MAX_QUEUED = 64
"""Messages that wait for a slow client before its socket is given up."""
SEND_SECONDS = 10.0
ANSWERS_QUEUED = MAX_QUEUED // 2
"""Messages that wait for a client before its next request is read: what it asks at once never makes it slow."""
FRAMES_PER_MESSAGE = 4
"""Frames of any kind, pings and pongs too, for each message that a client may send; more are a flood."""
FRAMES_AT_ONCE = 4
"""Frames of one socket that are answered before others have their turn."""
REPLACEABLE = ("roster", "speaking", "load", "resume", "recording")
"""Of these only the newest is worth sending."""
LEAVING = (WSCloseCode.OK, WSCloseCode.GOING_AWAY)
"""A client that closes in an orderly way leaves; one that breaks off may come back."""


class Socket:
    """One client's WebSocket: a bounded queue out, one request at a time in. Implements the conference's Listener."""

    def __init__(
        self,
        parts: Parts,
        claims: Claims,
        socket: web.WebSocketResponse,
        pools: Pools,
        address: str | None,
        transport: asyncio.BaseTransport | None = None,
    ) -> None:
        self._parts = parts
        self._pools = pools
        self._address = address
        self._transport = transport
        self._claims = claims
        self._socket = socket
        self._outgoing: deque[dict[str, Any]] = deque()
        self._queued = asyncio.Event()
        self._sent = asyncio.Event()
        self._writing = True
        self._closing: str | None = None
        self._participant: str | None = None
        self._left = False
        self._resume: tuple[object, float] = (None, 0.0)  # what the last resume token says, and when it was issued
        rate = parts.settings.max_messages_per_second
        self._limit = RateLimit(rate, 2 * rate)
        self._frames = RateLimit(FRAMES_PER_MESSAGE * rate, 2 * FRAMES_PER_MESSAGE * rate)

    # Listener

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; an older one that it replaces is dropped, and a full queue closes the socket."""
        if self._closing is not None:
            return
        if message["type"] in REPLACEABLE:
            for waiting in self._outgoing:
                if waiting["type"] == message["type"]:
                    self._outgoing.remove(waiting)
                    break
        if len(self._outgoing) >= MAX_QUEUED:
            self.close("slow")
            return
        self._outgoing.append(message)
        self._queued.set()

    def close(self, reason: str, address: str | None = None) -> None:
        """Say why, and where to go on, then close."""
        if self._closing is None:
            self._outgoing.append(protocol.closed(reason, address))
            self._closing = reason
            self._queued.set()

    # Running

    async def run(self) -> None:
        """Serve until either side closes."""
        writer = asyncio.create_task(self._write(), name="websocket writer")
        try:
            await self._read()
        finally:
            # The conference first: from here on nobody may count on this socket.
            if self._participant is not None:
                if self._socket.close_code in LEAVING or self._closing == "left":
                    self._parts.conference.leave(self._participant, self)
                else:
                    self._parts.conference.disconnected(self._participant, self)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await self._socket.close()

    async def _write(self) -> None:
        """Send what is queued; whenever a second went by a ping, and a look at tokens and at the time to join."""
        loop = asyncio.get_running_loop()
        next_ping = loop.time() + PING_SECONDS
        awake = AwakeClock(loop.time)
        opened = awake()
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._queued.wait(), max(0.0, next_ping - loop.time()))
                self._queued.clear()
                async with asyncio.timeout(SEND_SECONDS):
                    while self._outgoing:
                        await self._socket.send_str(json.dumps(self._outgoing.popleft(), separators=(",", ":")))
                        self._sent.set()
                    if self._closing is not None:
                        code = WSCloseCode.OK if self._closing == "left" else WSCloseCode.POLICY_VIOLATION
                        if self._closing in ("shutdown", "moved"):
                            code = WSCloseCode.SERVICE_RESTART
                        await self._socket.close(code=code, message=self._closing.encode()[:120])
                        return
                    if loop.time() >= next_ping:
                        next_ping = loop.time() + PING_SECONDS
                        await self._socket.ping()
                        if self._parts.authority.expired(self._claims):
                            self.close("expired")
                        elif self._participant is not None:
                            self._renew_resume_token(self._participant)
                        elif awake() - opened >= self._parts.settings.join_seconds:
                            self.close("join")
        except (ConnectionError, TimeoutError):
            # The client is gone or reads nothing; ending the socket lets `_read` return.
            await self._socket.close(code=WSCloseCode.ABNORMAL_CLOSURE)
        finally:
            self._writing = False
            self._sent.set()

    async def _read(self) -> None:
        for count in itertools.count(1):
            if count % FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
            await self._room_for_an_answer()
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            if not self._frames.admit(self._parts.clock()):
                await self._break_off("flood")
                return
            if self._participant is not None:
                self._parts.conference.heard(self._participant, self)
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                await self._request(message)

    async def _room_for_an_answer(self) -> None:
        """Wait until the client has taken enough of what it was sent."""
        while self._writing and self._closing is None and len(self._outgoing) >= ANSWERS_QUEUED:
            self._sent.clear()
            await self._sent.wait()

    async def _break_off(self, reason: str) -> None:
        """Say why and stop reading at once: whoever floods is not waited for in a closing handshake."""
        self._closing = reason
        self._parts.metrics.refused(reason)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(PING_SECONDS):
                await self._socket.send_str(json.dumps(protocol.closed(reason)))
        if self._transport is not None:
            self._transport.close()

    async def _request(self, message: WSMessage) -> None:
        """Carry out one request and queue its answer; an error is answered and leaves everything as it was."""
        identifier: int | None = None
        try:
            if not self._limit.admit(self._parts.clock()):
                raise TooManyRequestsError("too many messages: slow down")
            if message.type is not WSMsgType.TEXT:
                raise ProtocolError("messages are JSON text, not binary")
            identifier = protocol.request_id(message.data)
            request = protocol.parse_message(message.data, self._parts.settings.max_message_bytes)
            identifier = request.id
            with self._parts.metrics.request(f"ws {request.type}"):
                answer = protocol.ok(identifier, **await self._carry_out(request))
        except VisavisError as error:
            self._parts.metrics.refused(code_of(error))
            answer = protocol.failure(identifier, error)
        except Exception:
            # A bug: this request fails, the call goes on.
            logger.exception("websocket request failed")
            self._parts.metrics.refused("internal")
            answer = protocol.internal_failure(identifier)
        self.send(answer)
        if self._left:
            self.close("left")

    async def _carry_out(self, request: protocol.ClientMessage) -> dict[str, Any]:
        conference = self._parts.conference
        if isinstance(request, protocol.Ping):
            return {"t": request.t, "server_t": self._parts.clock() * 1000.0}
        if isinstance(request, protocol.Join):
            return await self._join(request)
        me = self._participant
        if me is None:
            raise ConflictError("join first")
        if isinstance(request, protocol.Publish | protocol.Subscribe):
            self._pools.admit_offer(self._claims.sub, self._address, self._parts.clock())
        if isinstance(request, protocol.Publish):
            self._claims.may_publish()
            return {"sdp": await conference.publish(me, request.sdp, request.weights)}
        if isinstance(request, protocol.Share):
            self._claims.may_publish()
            screen, sdp = await conference.share(me, request.sdp)
            return {"sdp": sdp, "participant": screen}
        if isinstance(request, protocol.Subscribe):
            self._claims.may_subscribe()
            room = conference.rooms.get(me).room
            subscription, sdp = await conference.subscribe(me, room, request.participant, request.sdp, request.codec)
            return {"sdp": sdp, "subscription": subscription}
        if isinstance(request, protocol.GetStatistics):
            room = conference.rooms.get(me).room
            parts = (conference.rooms, conference.publishers, conference.subscriptions)
            return {"participants": room_statistics(room, *parts)}
        if isinstance(request, protocol.GetFrames):
            return {"subscriptions": conference.subscriptions.sent_frames(me)}
        if isinstance(request, protocol.Unsubscribe):
            conference.subscriptions.end(conference.subscriptions.get(me, request.subscription), None)
        elif isinstance(request, protocol.Unshare):
            conference.unshare(me)
        elif isinstance(request, protocol.SetView):
            conference.subscriptions.set_view(me, request)
        elif isinstance(request, protocol.SetState):
            conference.set_state(me, request)
        elif isinstance(request, protocol.Report):
            conference.subscriptions.report(me, request)
        else:
            conference.leave(me, self)
            self._left = True
        return {}

    async def _join(self, request: protocol.Join) -> dict[str, Any]:
        if self._participant is not None:
            raise ConflictError("this connection has joined already")
        parts, conference = self._parts, self._parts.conference
        self._claims.may_join(request.room)
        await parts.nodes.open(request.room)
        resume = parts.resume_tokens.read(request.resume)
        participant, resumed = conference.join(
            self._claims, request.room, request.name, request.client, resume, self, preview=request.preview
        )
        self._participant = participant.id
        return {
            "participant": participant.id,
            "name": participant.name,
            "resume": self._resume_token(participant),
            "resumed": resumed,
            "ice_servers": parts.ice_servers.for_client(self._claims.sub),
            "roster": [p.entry() for p in conference.rooms.roster(request.room)],
            "speaking": conference.active_speaker(request.room),
            "overloaded": conference.overloaded,
            "recording": parts.recordings.active(request.room),
            "may_record": parts.recordings.enabled and self._claims.records(request.room),
            "limits": parts.limits(),
            "node": parts.settings.node_address or None,
        }

    def _resume_token(self, participant: Participant) -> str:
        self._resume = (_said(participant), self._parts.clock())
        return self._parts.resume_tokens.issue(participant)

    def _renew_resume_token(self, participant: str) -> None:
        """Send a new one where the last says something else, or is half as old as it may be useful."""
        try:
            me = self._parts.conference.rooms.get(participant)
        except NotFoundError:
            return
        said, issued = self._resume
        if said != _said(me) or self._parts.clock() - issued >= self._parts.settings.resume_seconds / 2:
            self.send(protocol.resume(self._resume_token(me)))


def _said(participant: Participant) -> object:
    """What a resume token says of the participant."""
    return participant.name, participant.publication, dict(participant.sources)


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Verify the token before the upgrade, so that a bad one is an ordinary 401."""
    parts = parts_of(request)
    claims = parts.authority.verify(request.query.get("token", ""))
    # Somewhat above the bound that is answered with an error; only beyond that is the connection given up.
    # Pings are answered here, because each is a sign of life that the conference takes note of.
    socket = web.WebSocketResponse(
        max_msg_size=4 * parts.settings.max_message_bytes, autoping=False, compress=False, timeout=2.0
    )
    pools = pools_of(request)
    with pools.sockets.held(identity=claims.sub):
        await socket.prepare(request)
        await Socket(parts, claims, socket, pools, request.remote, request.transport).run()
    return socket


ROUTES = [web.get("/ws", websocket)]
