"""The browser page: static files under a strict content security policy."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from aiohttp import web

from server.routes.parts import Parts, parts_of

logger = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",  # networks that turn the camera into motion run as WebAssembly
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
PERMISSIONS_POLICY = (
    "camera=(self), microphone=(self), picture-in-picture=(self), display-capture=(self), geolocation=()"
)


BUILT = "built/"
"""Where `make web` puts what the page needs to send motion."""

RUNS_MOTION = ("manifest.json", "runtime.json")
"""Files of it that name all others."""

HIDDEN = ("node_modules", ".", "built/.", "package", "vendor.mjs")
"""What lies in the folder for `make web` alone."""

_NAMED_BY_CONTENT = re.compile(r"built/([a-z]+-[0-9a-f]{16}\.(onnx|bin)|[a-z]+-[0-9]+\.[0-9]+\.[0-9]+/.+)")
"""Files whose name changes with what they hold: a hash or a version is in it."""


async def index(request: web.Request) -> web.StreamResponse:
    """The page itself."""
    return await _file(request, "index.html")


async def asset(request: web.Request) -> web.StreamResponse:
    """A file of `client_web/`."""
    return await _file(request, request.match_info["path"])


async def _file(request: web.Request, path: str) -> web.StreamResponse:
    folder = parts_of(request).settings.client_folder.resolve()
    try:
        target = (folder / path).resolve()
        found = target.is_relative_to(folder) and target.is_file() and not path.startswith(HIDDEN)
    except (OSError, ValueError, RuntimeError):
        found = False  # a name that no file can have: too long, a zero byte, links in a circle
    if not found:
        raise web.HTTPNotFound(reason="no such page")
    # Asked for anew each time and answered with 304 by its ETag: a page and its modules are always of one version.
    caching = "public, max-age=31536000, immutable" if _NAMED_BY_CONTENT.fullmatch(path) else "no-cache"
    return web.FileResponse(
        target,
        headers={
            "Cache-Control": caching,
            # The page has no foreign parts and shares nothing with other windows: then it may use threads.
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Permissions-Policy": PERMISSIONS_POLICY,
        },
    )


async def security_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Headers that every response carries. The token stands in the WebSocket's address: no referrer."""
    response.headers["Server"] = "visavis"
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")


def built_weights(client_folder: Path) -> str | None:
    """SHA-256 of the weights of which `make web` made the page's networks, hexadecimal; None where there are none."""
    try:
        weights = json.loads((client_folder / BUILT / "manifest.json").read_text())["weights"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return weights if isinstance(weights, str) else None


def sends_motion(parts: Parts) -> bool:
    """Whether the page has what it needs to send motion that the receiver understands.

    Without npm at set-up it has not, nor with networks of other weights than the receiver's.
    """
    built = all((parts.settings.client_folder / BUILT / name).is_file() for name in RUNS_MOTION)
    return built and parts.conference.publishers.weights in (None, built_weights(parts.settings.client_folder))


def warn_of_other_weights(parts: Parts) -> None:
    """Log it where the page's networks are of other weights than the receiver's. Once these are known."""
    page, receiver = built_weights(parts.settings.client_folder), parts.conference.publishers.weights
    if page is not None and receiver is not None and page != receiver:
        logger.warning(
            "the page was made with other weights (%s) than the receiver's (%s) and sends no motion: "
            "set VISAVIS_WEIGHTS and run make web",
            page[:12],
            receiver[:12],
        )


def add_routes(application: web.Application) -> None:
    """Register the page; last, for it also answers `/`."""
    application.router.add_get("/", index)
    application.router.add_get("/client/{path:.+}", asset)
    application.on_response_prepare.append(security_headers)
