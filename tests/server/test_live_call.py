"""Signalling with the real receiver behind it: motion in, rendered pictures out, nothing kept afterwards."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import RTCPeerConnection
from PIL import Image

from model.codec.encoder import MotionEncoder
from server.media.aiortc_private import close_peer
from server.receiver.publication import Publication
from server.receiver.source_cache import SourceCache
from tests.server.fakes import SIZE, PaintingModel, motion, render_engine
from tests.server.receiver.test_publication import WholeCrop
from tests.server.signalling import Call, Peer, accept, offer, peer_connection, running_call
from tests.server.signalling.test_call import pictures, subscribe


def jpeg(width: int = SIZE, height: int = SIZE, grey: int = 100) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (grey, grey, grey)).save(file, "JPEG")
    return file.getvalue()


@asynccontextmanager
async def live_call(**settings: Any) -> AsyncIterator[tuple[Call, SourceCache]]:
    engine = render_engine(PaintingModel())
    await engine.start()
    cache = SourceCache(engine, find_crop=lambda _: WholeCrop(float(SIZE)))
    try:
        async with running_call(90.0, lambda participant: Publication(participant, engine, cache), **settings) as call:
            yield call, cache
    finally:
        await cache.close()
        await engine.close()


async def upload(call: Call, participant: str, image: bytes, identity: str) -> tuple[int, dict[str, Any]]:
    headers = call.bearer(identity=identity) | {"Content-Type": "image/jpeg"}
    path = f"/rooms/lobby/participants/{participant}/source"
    answer = await call.client.put(path, data=image, headers=headers)
    return answer.status, await answer.json()


async def talk(peer: Peer) -> tuple[RTCPeerConnection, asyncio.Task[None]]:
    """Publish motion until the task is cancelled."""
    connection = peer_connection()
    channel = connection.createDataChannel("motion", ordered=False, maxRetransmits=0)
    connection.createDataChannel("control")
    encoder = MotionEncoder(PaintingModel().statistics)
    channel.on("message", encoder.on_acknowledgement)
    answer = await peer.request("publish", sdp=await offer(connection))
    await accept(connection, answer["sdp"])

    async def send() -> None:
        clock = asyncio.get_running_loop().time
        while True:
            if channel.readyState == "open":
                message = encoder.encode(motion(30.0).to_vector(), int(1000 * clock()) & 0xFFFFFFFF)
                channel.send(message or encoder.flush() or b"")
            await asyncio.sleep(0.04)

    return connection, asyncio.create_task(send())


async def end(task: asyncio.Task[None], *connections: RTCPeerConnection) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for connection in connections:
        await close_peer(connection)


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_rendered_pictures_come_back_and_bad_uploads_disturb_nobody() -> None:
    async with live_call() as (call, cache):
        ada, me = await call.join("Ada", identity="ada", client="daemon")
        bob, other = await call.join("Bob", identity="bob")
        status, answer = await upload(call, me["participant"], jpeg(), "ada")
        assert status == 201
        sending, talking = await talk(ada)
        watching, _ = await subscribe(bob, me["participant"])
        await pictures(watching, 5)

        status, refused = await upload(call, other["participant"], jpeg(6000, 4000), "bob")
        assert (status, refused["code"]) == (413, "source_too_large")
        assert (await upload(call, other["participant"], b"\xff\xd8\xff" + b"\0" * 99, "bob"))[0] == 415
        assert (await upload(call, other["participant"], jpeg(8, 8), "bob"))[0] == 422
        await pictures(watching, 5)
        numbers = (await bob.request("statistics"))["participants"][me["participant"]]
        assert numbers["kind"] == "motion"
        assert numbers["viewers"] == 1
        assert cache.in_use == 1

        await end(talking, sending, watching)
        await ada.request("leave")
        await bob.roster(lambda r: len(r) == 1)
        back, again = await call.join("Ada", identity="ada", client="daemon", resume=me["resume"])
        assert again["participant"] == me["participant"]
        headers = call.bearer(identity="ada")
        path = f"/rooms/lobby/participants/{me['participant']}/source?index=0&sha256={answer['sha256']}"
        assert (await call.client.put(path, headers=headers)).status == 201
        await back.request("leave")
    assert cache.in_use == 0


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.asyncio
async def test_publishers_that_come_and_go_keep_no_source_in_use() -> None:
    async with live_call() as (call, cache):
        bob, _ = await call.join("Bob")
        for number in range(6):
            name = f"Guest {number}"
            peer, me = await call.join(name, identity=name)
            assert (await upload(call, me["participant"], jpeg(grey=50 + number), name))[0] == 201
            sending, talking = await talk(peer)
            watching, _ = await subscribe(bob, me["participant"])
            if number % 2:
                await pictures(watching, 1)
            await end(talking, sending, watching)
            await peer.request("leave")
        await bob.request("ping", t=0.0)
        assert len(cache) == 6
    assert cache.in_use == 0
