"""Uploads of a publisher, `PUT` below `/rooms/{room}/participants/{id}`.

/source   a source image, uploaded or attached by its SHA-256
/mouth    a window
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from model.codec.source_image import CONTENT_TYPES, SourceImageError, content_type
from model.codec.window import WINDOW_TYPE, WindowError
from model.errors import FaceError, InputError
from model.window import MAX_WINDOW_BYTES, MAX_WINDOWS
from server.auth import Claims
from server.errors import (
    ForbiddenError,
    ProtocolError,
    StartingError,
    TooLargeError,
    UnsupportedMediaError,
    UnusableImageError,
)
from server.routes.parts import bearer_claims, parts_of, room_here
from server.routes.pools import pools_of
from server.signalling.protocol import parse_room

LOADING_SECONDS = 10.0
"""So long an upload waits for a model that is being loaded."""

MAX_SCENES = 256
"""Scenes that source images and windows can be of: one says a byte."""


async def put_source(request: web.Request) -> web.Response:
    """201 with `{sha256, index}`. With `?sha256=` and no body the image must be cached, or 404."""
    parts = parts_of(request)
    conference = parts.conference
    claims, room, participant = await _uploader(request)
    index = _number(request, "index", parts.settings.max_sources)
    scene = _number(request, "scene", MAX_SCENES)
    sha256 = request.query.get("sha256", "")
    if sha256:
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ProtocolError("sha256 is 64 hexadecimal digits in lower case")
        await conference.attach_source(participant, index, sha256, scene)
        parts.metrics.source_cached()
    else:
        pools = pools_of(request)
        pools.upload_rate.admit(claims.sub, parts.clock())
        # Before the body is read: what is held of a body counts as much as what is decoded.
        with pools.uploads.held(identity=claims.sub, room=room):
            image = await _image(request, parts.settings.source_max_bytes)
            begin = parts.clock()
            try:
                sha256 = await conference.add_source(participant, index, image, scene)
            except (FaceError, SourceImageError):
                parts.metrics.source_refused()
                raise
            except InputError as error:
                parts.metrics.source_refused()
                raise UnusableImageError(str(error)) from None
            parts.metrics.source_enrolled(parts.clock() - begin)
    return web.json_response({"sha256": sha256, "index": index}, status=201, headers={"Cache-Control": "no-store"})


async def put_window(request: web.Request) -> web.Response:
    """201 with `{slot}`."""
    parts, pools = parts_of(request), pools_of(request)
    claims, room, participant = await _uploader(request)
    slot = _number(request, "slot", MAX_WINDOWS)
    scene = _number(request, "scene", MAX_SCENES)
    pools.window_rate.admit(claims.sub, parts.clock())
    with pools.uploads.held(identity=claims.sub, room=room):
        if request.content_type != WINDOW_TYPE:
            raise UnsupportedMediaError(f"a window is {WINDOW_TYPE}")
        data = await _body(request, MAX_WINDOW_BYTES, "a window")
        try:
            await parts.conference.add_window(participant, slot, data, scene)
        except WindowError as error:
            raise UnusableImageError(str(error)) from None
    return web.json_response({"slot": slot}, status=201, headers={"Cache-Control": "no-store"})


async def _uploader(request: web.Request) -> tuple[Claims, str, str]:
    """Token, room and participant of an upload. Raises ForbiddenError for the token of somebody else."""
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_join(room)
    claims.may_publish()
    await room_here(request)
    participant = parts_of(request).conference.rooms.find(room, request.match_info["id"])
    if participant.identity != claims.sub:
        raise ForbiddenError("the token is of another participant")
    await _loaded(request)
    return claims, room, participant.id


async def _loaded(request: web.Request) -> None:
    """Wait for the model, before anything of a body is held. Raises StartingError where that takes long."""
    try:
        async with asyncio.timeout(LOADING_SECONDS):
            await parts_of(request).conference.loaded.wait()
    except TimeoutError:
        raise StartingError("the server is starting; try again in a moment") from None


def _number(request: web.Request, name: str, bound: int) -> int:
    """A number of the query, 0 where it is not given. Raises ProtocolError where it is not below `bound`."""
    text = request.query.get(name, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) >= bound:
        raise ProtocolError(f"{name} is 0 to {bound - 1}")
    return int(text)


async def _image(request: web.Request, bound: int) -> bytes:
    """The image's bytes; refused by its announced type and size before it is read, and by its real ones after."""
    if request.content_type not in CONTENT_TYPES.values():
        raise UnsupportedMediaError(f"a source image is {', '.join(CONTENT_TYPES.values())}")
    image = await _body(request, bound, "a source image")
    if content_type(image) != request.content_type:
        raise UnsupportedMediaError(f"the body is not {request.content_type}")
    return image


async def _body(request: web.Request, bound: int, what: str) -> bytes:
    if (request.content_length or 0) > bound:
        raise TooLargeError(f"{what} is at most {bound} bytes")
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > bound:
            raise TooLargeError(f"{what} is at most {bound} bytes")
    return bytes(body)


ROUTES = [
    web.put("/rooms/{room}/participants/{id}/source", put_source),
    web.put("/rooms/{room}/participants/{id}/mouth", put_window),
]
