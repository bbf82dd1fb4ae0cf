"""`/api/`: invitations and administration over HTTP with JSON, and the description of it.

`operations.py` lists every operation with its models; routes and description are both made from that list.
"""

from __future__ import annotations

from aiohttp import web

from server.routes.api import openapi
from server.routes.api.operations import OPERATIONS

ROUTES: list[web.RouteDef] = [*(operation.route() for operation in OPERATIONS), *openapi.ROUTES]
