"""Source cache and the decoding of uploads: bounds, bombs, eviction, reuse."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from model.codec.source_image import CONTENT_TYPES, SourceFormatError, SourceLimits, SourceTooLargeError, content_type
from model.errors import InputError, SeveralFacesError
from server.receiver.render_engine import RenderEngine
from server.receiver.source_cache import CacheSettings, SourceCache, SourceCacheFullError
from server.receiver.source_image import crop_source
from tests.server.fakes import SIZE, PaintingModel, render_engine

Picture = np.ndarray[Any, np.dtype[np.uint8]]


class FixedCrop:
    def __init__(self, side: float) -> None:
        self.side = side

    def cut(self, frame: Picture, size: int) -> Picture:
        return np.full((size, size, 3), 7, np.uint8)


def encoded(level: int = 100, size: tuple[int, int] = (80, 80), file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (level, 0, 255 - level)).save(buffer, file_format, **options)
    return buffer.getvalue()


def one_size(available: float) -> int:
    return SIZE


@pytest.mark.parametrize("file_format", ["AVIF", "WEBP", "JPEG", "PNG"])
def test_formats(file_format: str) -> None:
    data = encoded(200, file_format=file_format)
    assert content_type(data) == CONTENT_TYPES[file_format]
    picture, _ = crop_source(data, one_size, SourceLimits(), lambda _: FixedCrop(80))
    assert picture.shape == (SIZE, SIZE, 3)
    assert abs(int(picture[10, 10, 0]) - 200) < 8


def test_a_head_crop_is_used_whole_and_other_pictures_are_cropped() -> None:
    def level(size: tuple[int, int], side: float) -> int:
        data = encoded(200, size)
        return int(crop_source(data, one_size, SourceLimits(), lambda _: FixedCrop(side))[0][0, 0, 0])

    assert level((80, 80), 75.0) == 200  # what the sender uploads
    assert level((80, 80), 30.0) == 7  # a square photo of a whole person
    assert level((120, 80), 75.0) == 7  # no square


def test_a_picture_is_enrolled_as_large_as_it_is() -> None:
    """A head crop by its own side, another picture by the side of the crop in it."""
    asked: list[float] = []

    def by_pixels(available: float) -> int:
        asked.append(available)
        return 128 if available >= 100 else 64

    def side(size: tuple[int, int], crop: float) -> int:
        return len(crop_source(encoded(1, size), by_pixels, SourceLimits(), lambda _: FixedCrop(crop))[0])

    assert [side((120, 120), 110.0), side((90, 90), 80.0), side((300, 200), 110.0), side((300, 200), 90.0)] == [
        128,
        64,
        128,
        64,
    ]
    assert asked == [120, 90, 110.0, 90.0]


def test_a_turned_phone_photo_is_set_upright() -> None:
    seen: list[tuple[int, ...]] = []

    def whole(picture: Picture) -> FixedCrop:
        seen.append(picture.shape)
        return FixedCrop(50)

    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    crop_source(encoded(1, (120, 80), "JPEG", exif=exif), one_size, SourceLimits(), whole)
    assert seen == [(120, 80, 3)]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack("!I", len(body)) + name + body + struct.pack("!I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", SourceFormatError),
        (b"GIF89a" + b"\0" * 100, SourceFormatError),
        (b"<svg/>", SourceFormatError),
        (encoded()[:60], SourceFormatError),
        (encoded(file_format="JPEG")[:200], SourceFormatError),
        (encoded(file_format="AVIF")[:150], SourceFormatError),
        (encoded(file_format="WEBP")[:30], SourceFormatError),
        (bomb(50_000, 50_000), SourceTooLargeError),
        (bomb(30_000, 10_000), SourceTooLargeError),
        (bomb(5_000, 5_000), SourceTooLargeError),
        (bomb(300, 300), SourceFormatError),
        (b"x" * 5_000_000, SourceTooLargeError),
        (encoded(size=(1, 1)), InputError),
    ],
)
def test_bad_images_get_one_error(data: bytes, error: type[InputError]) -> None:
    with pytest.raises(error):
        crop_source(data, one_size, SourceLimits(), lambda _: FixedCrop(80))


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[RenderEngine]:
    engine = render_engine(PaintingModel())
    await engine.start()
    yield engine
    await engine.close()


def cache_of(engine: RenderEngine, **settings: Any) -> SourceCache:
    return SourceCache(engine, CacheSettings(**settings), lambda _: FixedCrop(80))


@pytest.mark.asyncio
async def test_same_image_is_enrolled_once(engine: RenderEngine) -> None:
    cache = cache_of(engine)
    first, *rest = await asyncio.gather(*(cache.add(encoded()) for _ in range(5)))
    assert set(rest) == {first}
    assert len(cache) == 1
    for _ in range(5):
        cache.release(first)
    assert cache.in_use == 0
    assert cache.acquire(first) is not None
    await cache.close()


@pytest.mark.asyncio
async def test_least_recently_used_goes_first_and_those_in_use_stay(engine: RenderEngine) -> None:
    cache = cache_of(engine, max_count=3)
    held = await cache.add(encoded(1))
    idle = [await cache.add(encoded(level)) for level in (2, 3)]
    for sha256 in idle:
        cache.release(sha256)
    assert cache.acquire(idle[0]) is not None  # used again: now the younger one
    cache.release(idle[0])
    cache.release(await cache.add(encoded(4)))
    assert cache.acquire(idle[1]) is None
    assert cache.acquire(held) is not None
    assert cache.acquire(idle[0]) is not None
    assert len(cache) == 3
    await cache.close()


@pytest.mark.asyncio
async def test_bytes_are_bounded_and_a_full_cache_says_so(engine: RenderEngine) -> None:
    cache = cache_of(engine, max_bytes=2500)
    held = [await cache.add(encoded(level)) for level in (1, 2)]
    with pytest.raises(SourceCacheFullError):
        await cache.add(encoded(3))
    assert 2000 < cache.nbytes <= 2500  # of features, and the images themselves
    cache.release(held[0])
    await cache.add(encoded(3))
    assert 2000 < cache.nbytes <= 2500
    assert cache.acquire(held[0]) is None
    await cache.close()
    assert cache.nbytes == 0


@pytest.mark.asyncio
async def test_uploads_that_wait_are_bounded(engine: RenderEngine) -> None:
    cache = cache_of(engine, max_waiting=2)
    results = await asyncio.gather(*(cache.add(encoded(level)) for level in range(5)), return_exceptions=True)
    assert sum(isinstance(result, SourceCacheFullError) for result in results) == 3
    await cache.close()


@pytest.mark.asyncio
async def test_several_faces_are_refused_and_nothing_stays(engine: RenderEngine) -> None:
    def crowd(_: Picture) -> FixedCrop:
        raise SeveralFacesError("two faces")

    cache = SourceCache(engine, find_crop=crowd)
    with pytest.raises(SeveralFacesError):
        await cache.add(encoded())
    assert len(cache) == 0
    await cache.close()
    await cache.close()


@pytest.mark.asyncio
async def test_a_caller_that_hangs_up_fails_nobody_else(engine: RenderEngine) -> None:
    cache = cache_of(engine)
    first = asyncio.create_task(cache.add(encoded()))
    second = asyncio.create_task(cache.add(encoded()))
    await asyncio.sleep(0)
    first.cancel()
    sha256 = await second
    assert cache.acquire(sha256) is not None
    assert first.cancelled()
    await cache.close()
