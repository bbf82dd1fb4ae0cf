"""One operation of the API: where it is, what it takes and gives, and the reading and writing of both.

A request's body is checked against its model before the handler sees it, and an answer is made from a model. So what
`openapi.py` says of them holds.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from server.errors import ProtocolError, TooLargeError, UnsupportedMediaError

MAX_BODY_BYTES = 4096

ADMINISTER = "administer the room (admin, or roomAdmin for it)"
"""The grant that most operations need, in words."""

Handle = Callable[[web.Request, Any], Awaitable[BaseModel | web.StreamResponse | None]]
"""Takes the request and its checked body (None without a model); gives the answer, a file, or None for 204."""


class Model(BaseModel):
    """A JSON object of the API: unknown fields are errors, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class Operation:
    """One method of one path. `grant`: what its token must permit, in words; None where it needs no token."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    summary: str
    handle: Handle
    grant: str | None
    takes: type[Model] | None = None
    gives: type[Model] | None = None
    file: bool = False  # gives the bytes of a file instead
    errors: tuple[int, ...] = ()

    @property
    def status(self) -> int:
        """Of an answer to a request that was carried out."""
        if self.gives is None and not self.file:
            return 204
        return 201 if self.method == "POST" else 200

    def route(self) -> web.RouteDef:
        """As aiohttp takes it."""
        return web.route(self.method, self.path, self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = None if self.takes is None else await _read(request, self.takes)
        answer = await self.handle(request, body)
        if isinstance(answer, web.StreamResponse):
            return answer
        headers = {"Cache-Control": "no-store"}
        if answer is None:
            return web.Response(status=204, headers=headers)
        return web.json_response(answer.model_dump(mode="json"), status=self.status, headers=headers)


async def _read(request: web.Request, model: type[Model]) -> Model:
    """The body, checked. An empty one counts as `{}`. Raises ProtocolError, TooLargeError, UnsupportedMediaError."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(MAX_BODY_BYTES + 1):
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(f"the body is at most {MAX_BODY_BYTES} bytes")
    if body and request.content_type != "application/json":
        raise UnsupportedMediaError("the body must be application/json")
    try:
        return model.model_validate(json.loads(body or b"{}"))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        location = ".".join(str(part) for part in problem["loc"])
        raise ProtocolError(f"{location or 'body'}: {problem['msg']}") from None
    except (ValueError, RecursionError):
        raise ProtocolError("the body is not JSON") from None
