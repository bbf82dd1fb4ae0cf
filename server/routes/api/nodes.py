"""The nodes among which rooms are placed."""

from __future__ import annotations

from aiohttp import web

from server.errors import ForbiddenError
from server.nodes.lease import Lease
from server.routes.api.operation import Model, Operation
from server.routes.parts import bearer_claims, parts_of


class NodeModel(Model):
    """One node, as it said a few seconds ago."""

    name: str
    address: str
    load: float
    views: int
    capacity: float
    rooms: int
    open: bool
    draining: bool

    @classmethod
    def of(cls, lease: Lease) -> NodeModel:
        """What the lease says."""
        return cls.model_validate(lease, from_attributes=True)


class NodeList(Model):
    """The nodes whose leases last."""

    nodes: list[NodeModel]


async def list_nodes(request: web.Request, _body: None) -> NodeList:
    """All of them; without Redis the one that answers."""
    if not bearer_claims(request).video.admin:
        raise ForbiddenError("the token does not administer all rooms")
    return NodeList(nodes=[NodeModel.of(lease) for lease in await parts_of(request).nodes.leases()])


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/nodes",
        name="listNodes",
        summary="The nodes, and how loaded each is.",
        handle=list_nodes,
        grant="admin",
        gives=NodeList,
        errors=(403, 503),
    ),
)
