"""The one place where errors become responses: `{"code", "message"}` with the error's HTTP status."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from model.errors import VisavisError
from server.errors import MovedError, UnauthorizedError, code_of
from server.routes.parts import CORS, parts_of, route_path

RETRY_AFTER_SECONDS = 5
"""What is full or starting is worth another look after that long."""

logger = logging.getLogger(__name__)

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def error_response(status: int, code: str, message: str) -> web.Response:
    """A JSON error."""
    return web.json_response({"code": code, "message": message}, status=status, headers={"Cache-Control": "no-store"})


@web.middleware
async def errors_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into a response; what nobody expected is logged and answered without details."""
    response = await _answer(request, handler)
    if route_path(request).startswith(("/whip/", "/whep/")) and not response.prepared:
        # A page of another origin learns nothing of an error without them (Fetch standard, CORS protocol).
        response.headers.update(CORS)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except VisavisError as error:
        code = code_of(error)
        parts_of(request).metrics.refused(code)
        response = error_response(error.http_status, code, str(error))
        if isinstance(error, MovedError):
            # RFC 9725, section 4.5: a POST stays one.
            response.headers["Location"] = error.address + request.rel_url.raw_path_qs.removeprefix(
                parts_of(request).settings.node_path
            )
        if error.http_status == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        if isinstance(error, UnauthorizedError):
            response.headers["WWW-Authenticate"] = "Bearer"
        return response
    except ConnectionError:
        # The client has gone, which is its right: nobody is left to read this, and nothing is wrong here.
        return error_response(400, "protocol", "the request broke off")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = error_response(error.status, _HTTP_CODES.get(error.status, "http"), error.reason)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        # Not expected, so a bug: the log has the traceback, the client learns no internals.
        logger.exception("request failed", extra={"method": request.method, "path": request.path})
        parts_of(request).metrics.refused("internal")
        return error_response(500, "internal", "an error of the server; its log says more")
