"""`GET /api/openapi.json`: the API described in OpenAPI 3.1, made from the operations themselves."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from aiohttp import web
from pydantic.json_schema import models_json_schema

import server
from server.routes.api.operation import Operation
from server.routes.api.operations import OPERATIONS

_REFERENCE = "#/components/schemas/"
_ERROR = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}
_MEANING = {
    307: "The room or the recording is on another node: ask the address in `Location`.",
    400: "The request has the wrong shape.",
    401: "No token or invitation, or one that is malformed, expired or foreign.",
    403: "The token does not permit it.",
    404: "No such room, participant or recording.",
    409: "It does not fit the present state.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many of these from one address.",
    501: "This server has no directory for recordings.",
    503: "A bound is reached, the disk is full, or which node the room lives on cannot be told now.",
}


@cache
def description() -> dict[str, Any]:
    """The OpenAPI document."""
    models = {model for operation in OPERATIONS for model in (operation.takes, operation.gives) if model is not None}
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=_REFERENCE + "{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "visavis", "version": server.__version__},
        "paths": paths,
        "components": {
            "schemas": {**schemas["$defs"], "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    statuses = {*operation.errors, *({401} if operation.grant else ())}
    answer: dict[str, Any] = {"description": "Carried out."}
    if operation.gives is not None:
        answer["content"] = _json(operation.gives.__name__)
    elif operation.file:
        answer["content"] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            str(operation.status): answer,
            **{
                str(status): {"description": _MEANING[status], "content": _json("Error")} for status in sorted(statuses)
            },
        },
        "security": [{"token": []}] if operation.grant else [],
    }
    if operation.grant:
        described["description"] = f"The token must permit: {operation.grant}."
    parameters = re.findall(r"\{(\w+)\}", operation.path)
    if parameters:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters
        ]
    if operation.takes is not None:
        described["requestBody"] = {"content": _json(operation.takes.__name__)}
    return described


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE + name}}}


async def openapi(_request: web.Request) -> web.Response:
    """The document."""
    return web.json_response(description(), headers={"Cache-Control": "no-cache"})


ROUTES = [web.get("/api/openapi.json", openapi)]
