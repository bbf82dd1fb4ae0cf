"""The built-in talker recorded through the real sender and receiver, and rendered from its file: sound and pictures.

Once with a server that ends its recording, once with one that is killed.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from model.__main__ import main
from model.codec.vav import Vav, read_vav
from model.description import WEIGHTS
from model.talking_head import TalkingHead
from server.receiver.publication import Publication
from server.receiver.source_cache import SourceCache
from server.sender.build import make_daemon, parse_choices
from server.sender.daemon import Daemon
from server.settings import load_settings
from tests.server.fakes import render_engine, until
from tests.server.routes.api.test_api import ask
from tests.server.serving import running
from tests.server.signalling import running_call

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.asyncio,
    pytest.mark.skipif(not WEIGHTS.exists(), reason="no trained weights yet"),
]


@asynccontextmanager
async def talker(address: str) -> AsyncIterator[Daemon]:
    """The built-in talker, publishing with sound."""
    threads = torch.get_num_threads()
    choices = parse_choices(server=address, room="lobby", name="Ada", source="portrait", kbps=25.0)
    daemon = make_daemon(choices, load_settings(), io.StringIO())
    running_daemon = asyncio.create_task(daemon.run())
    try:
        yield daemon
    finally:
        daemon.stop()
        await asyncio.gather(running_daemon, return_exceptions=True)
        torch.set_num_threads(threads)


def so_far(path: Path) -> Vav | None:
    """What a reader takes of a file that is being written."""
    return read_vav(path) if path.exists() and path.stat().st_size > 200 else None


def rendered(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Pictures (T, H, W, 3) and sound (n,) of a film."""
    with av.open(str(path)) as container:
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    return pictures, sound


async def decode(*arguments: str | Path) -> dict[str, Any]:
    """`decode` with these arguments, in a thread; its figures."""
    out = io.StringIO()

    def run() -> int:
        from contextlib import redirect_stdout

        with redirect_stdout(out):
            return main(["decode", *map(str, arguments), "--json"])

    assert await asyncio.to_thread(run) == 0
    figures: dict[str, Any] = json.loads(out.getvalue())
    return figures


def check_film(path: Path, shape: tuple[int, int]) -> None:
    pictures, sound = rendered(path)
    assert len(pictures) >= 50
    assert pictures.shape[1:3] == shape
    face = pictures[:, : shape[0], : shape[0]].astype(float)
    assert face.std() > 30, "a picture, not a plain tile"
    assert np.abs(np.diff(face[::5], axis=0)).mean() > 0.05, "that moves"
    assert np.abs(sound).max() > 0.02, "with a voice"


async def test_a_recording_is_started_stopped_fetched_and_rendered(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    engine = render_engine(TalkingHead.load())
    await engine.start()
    cache = SourceCache(engine)
    settings: dict[str, Any] = {"recordings": store, "recording_min_free_mb": 0}
    try:
        async with (
            running_call(150.0, lambda participant: Publication(participant, engine, cache), **settings) as call,
            talker(str(call.client.make_url(""))),
        ):
            rooms = call.parts.conference.rooms
            await until(lambda: any(p.media == "live" for p in rooms.roster("lobby")), seconds=60)
            path, bearer = "/api/rooms/lobby/recordings", call.bearer(record=True)
            status, one = await ask(call, "POST", path, bearer)
            assert status == 201
            folder = store / "lobby" / one["recording"]
            await until(lambda: (v := so_far(folder / "001.vav")) is not None and v.frames >= 75, seconds=60)
            assert (await ask(call, "POST", f"{path}/{one['recording']}/stop", bearer))[0] == 204
            _, ended = await ask(call, "GET", f"{path}/{one['recording']}", bearer)
            (entry,) = ended["files"]
            assert (entry["name"], entry["kind"], entry["problem"]) == ("Ada", "motion", None)
            fetched = await call.client.get(f"{path}/{one['recording']}/files/001.vav", headers=bearer)
            (tmp_path / "ada.vav").write_bytes(await fetched.read())
    finally:
        await cache.close()
        await engine.close()
    vav = read_vav(tmp_path / "ada.vav")
    assert vav.complete
    assert vav.file_bytes == entry["bytes"] == (folder / "001.vav").stat().st_size
    assert vav.file_bytes * 8 / vav.seconds < 80_000, "motion and voice, not pictures"
    figures = await decode(tmp_path / "ada.vav", tmp_path / "ada.mp4", "--yaw", "15", "--size", "128")
    assert figures["complete"]
    assert figures["seconds"] == pytest.approx(vav.seconds, abs=1.0)
    check_film(tmp_path / "ada.mp4", (128, 128))
    await decode(folder, tmp_path / "room.mp4", "--size", "96")
    check_film(tmp_path / "room.mp4", (96, 96))


async def test_a_server_that_is_killed_leaves_all_but_the_last_second(tmp_path: Path) -> None:
    environment = {"VISAVIS_RECORDINGS": str(tmp_path), "VISAVIS_RECORDING_MIN_FREE_MB": "0"}
    async with asyncio.timeout(240), running(trained=True, **environment) as (process, _, address):
        import aiohttp

        async with talker(address), aiohttp.ClientSession() as http:
            config = await (await http.get(f"{address}/api/config?room=lobby")).json()
            bearer = {"Authorization": f"Bearer {config['token']}"}
            while True:
                async with http.post(f"{address}/api/rooms/lobby/recordings", headers=bearer) as answer:
                    if answer.status == 201:
                        one = await answer.json()
                        break
                    assert answer.status == 404
                await asyncio.sleep(0.2)
            folder = tmp_path / "lobby" / one["recording"]
            await until(lambda: (v := so_far(folder / "001.vav")) is not None and v.frames >= 75, seconds=90)
            process.kill()
            await process.wait()
    vav = read_vav(folder / "001.vav")
    assert not vav.complete
    assert vav.frames >= 75
    figures = await decode(folder, tmp_path / "killed.mp4", "--size", "96", "--participant", "Ada")
    assert not figures["complete"]
    check_film(tmp_path / "killed.mp4", (96, 96))
