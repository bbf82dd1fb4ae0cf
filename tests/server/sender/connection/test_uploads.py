"""What goes beside the media, in which order and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import pytest

from model.codec.rate import Rate
from server.sender.connection import uploads
from server.sender.connection.rate_control import RateControl
from server.sender.connection.signalling import ConnectionLostError, RefusedError
from server.sender.connection.uploads import MOST_OFFERS, Uploads
from server.sender.media.samples import SourceImage, WindowUpload


class Receiver:
    """Takes what is brought; `answers` are those to the next windows."""

    def __init__(self) -> None:
        self.windows: list[tuple[int, int]] = []  # slot and scene
        self.answers: list[Exception] = []
        self.second = asyncio.Event()

    async def put(self, what: str, params: dict[str, str], content_type: str | None = None, data: bytes = b"") -> bool:
        del content_type, data
        await asyncio.sleep(0)
        if what == "mouth":
            self.windows.append((int(params["slot"]), int(params["scene"])))
            if len(self.windows) == 2:
                self.second.set()
            if self.answers:
                raise self.answers.pop(0)
        return True


@asynccontextmanager
async def bringing(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> AsyncIterator[Uploads]:
    monkeypatch.setattr(uploads, "AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(uploads, "LONGEST_AGAIN_SECONDS", 0.002)
    one = Uploads(cast(aiohttp.ClientSession, None), "http://node/p", "token", RateControl(Rate()), lambda: False)
    monkeypatch.setattr(one, "_put", receiver.put)
    try:
        yield one
    finally:
        await one.close()


async def settled(one: Uploads) -> None:
    if one._sender is not None:
        await one._sender


def source(scene: int) -> SourceImage:
    return SourceImage(scene, b"A", scene)


@pytest.mark.asyncio
async def test_source_images_of_later_scenes_come_ahead_and_windows_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    async with bringing(monkeypatch, receiver) as one:
        for slot in range(3):
            one.window(WindowUpload(slot, b"A", scene=0))
        await one.source(source(1), attach=False)
        await one.source(source(2), attach=True)
        await settled(one)
        assert receiver.windows == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [RefusedError("too_many_requests", "later"), ConnectionLostError("answered 503")])
async def test_a_window_is_offered_a_few_times(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    receiver = Receiver()
    receiver.answers = [error] * (2 * MOST_OFFERS)
    async with bringing(monkeypatch, receiver) as one:
        one.window(WindowUpload(0, b"A"))
        await settled(one)
        assert receiver.windows == [(0, 0)] * MOST_OFFERS


@pytest.mark.asyncio
async def test_a_window_that_is_refused_or_has_followers_is_not_offered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    receiver.answers = [RefusedError("input", "no"), RefusedError("too_many_requests", "later")]
    async with bringing(monkeypatch, receiver) as one:
        one.window(WindowUpload(0, b"A"))
        one.window(WindowUpload(1, b"B"))
        await receiver.second.wait()
        one.window(WindowUpload(5, b"C", scene=1))
        await settled(one)
        assert receiver.windows == [(0, 0), (1, 0), (5, 1)]
