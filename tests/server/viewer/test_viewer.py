"""A participant watched over real connections: rendered pictures and a voice in a file, and nothing left afterwards."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import av
import numpy as np
import pytest

from server.sender.connection.access import Access
from server.sender.connection.signalling import RefusedError
from server.settings import Settings
from server.viewer.delivery import Delivery
from server.viewer.sink import open_sink, parse_output
from server.viewer.viewer import Viewer
from tests.server.fakes import until
from tests.server.receiver.test_publication_loopback import Tone
from tests.server.signalling import Call, accept, connected, dismiss, offer, peer_connection
from tests.server.test_live_call import end, jpeg, live_call, talk, upload

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


def viewer_of(call: Call, out: Path, participant: str, token: str | None = None) -> tuple[Viewer, Delivery]:
    output = parse_output(str(out), "128", 25.0)
    delivery = Delivery(open_sink(output), output.size)
    server = str(call.client.make_url("")).rstrip("/")
    access = Access(server, "lobby", token or call.token(), Settings())
    view = {"yaw": 10.0, "pitch": 0.0, "roll": 0.0}
    return Viewer(server, "lobby", participant, "Booth", access, delivery, view, time.monotonic), delivery


async def test_a_face_is_watched_from_before_it_comes_until_after_it_came_back(tmp_path: Path) -> None:
    async with live_call() as (call, _):
        viewer, delivery = viewer_of(call, tmp_path / "ada.y4m", "Ada")
        delivery.start()
        watching = asyncio.create_task(viewer.run())
        ada, me = await call.join("Ada", identity="ada", client="daemon")
        await upload(call, me["participant"], jpeg(), "ada")
        sending, talking = await talk(ada)
        await until(lambda: delivery.pictures >= 5, seconds=40)
        roster = await ada.roster(lambda people: len(people) == 2)
        assert {person["name"] for person in roster} == {"Ada", "Booth"}, "whoever watches is seen"
        await end(talking, sending)
        await ada.request("leave")
        back, again = await call.join("Ada", identity="ada", client="daemon", resume=me["resume"])
        await upload(call, again["participant"], jpeg(), "ada")
        sending, talking = await talk(back)
        seen = delivery.pictures
        await until(lambda: delivery.pictures >= seen + 5, seconds=40)
        viewer.stop()
        await watching
        await delivery.close()
        await end(talking, sending)
        await back.request("leave")
        assert again["participant"] == me["participant"]
    with av.open(str(tmp_path / "ada.y4m")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) >= 10
    assert frames[0].shape == (128, 128, 3)
    assert abs(float(frames[-1].mean()) - 130) < 6, "grey 100, turned by 30 degrees in this model's way"


async def test_a_camera_becomes_a_film_with_its_voice(tmp_path: Path) -> None:
    from tests.server.signalling import GreyVideo

    async with live_call() as (call, _):
        ada, _me = await call.join("Ada")
        sending = peer_connection()
        sending.addTrack(GreyVideo())
        sending.addTrack(Tone())
        answer = await ada.request("publish", sdp=await offer(sending))
        await accept(sending, answer["sdp"])
        await connected(sending)
        viewer, delivery = viewer_of(call, tmp_path / "ada.mp4", "Ada")
        delivery.start()
        watching = asyncio.create_task(viewer.run())
        await until(lambda: delivery.pictures >= 60, seconds=40)
        viewer.stop()
        await watching
        await delivery.close()
        await sending.close()
    with av.open(str(tmp_path / "ada.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 60
    with av.open(str(tmp_path / "ada.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    assert np.abs(sound).max() > 0.1


@pytest.mark.parametrize(("closing", "words"), [(False, "removed from the room"), (True, "the room was closed")])
async def test_a_viewer_that_is_removed_does_not_come_back(tmp_path: Path, closing: bool, words: str) -> None:
    async with live_call() as (call, _):
        viewer, delivery = viewer_of(call, tmp_path / "ada.y4m", "Ada")
        delivery.start()
        watching = asyncio.create_task(viewer.run())
        await until(lambda: len(call.parts.conference.rooms.roster("lobby")) == 1)
        dismiss(call.parts.conference.administration, "lobby", closing=closing)
        with pytest.raises(RefusedError, match=words):
            await asyncio.wait_for(watching, 20)
        assert call.parts.conference.rooms.names() == []
        await delivery.close()


async def test_a_token_that_may_not_watch_is_told_once(tmp_path: Path) -> None:
    async with live_call() as (call, _):
        viewer, delivery = viewer_of(call, tmp_path / "ada.y4m", "Ada", token=call.token("elsewhere"))
        delivery.start()
        with pytest.raises(RefusedError, match="does not open"):
            await viewer.run()
        await delivery.close()
