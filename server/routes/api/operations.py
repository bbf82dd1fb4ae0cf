"""Every operation of the API."""

from __future__ import annotations

from server.routes.api import invitations, nodes, rooms

OPERATIONS = (*invitations.OPERATIONS, *rooms.OPERATIONS, *nodes.OPERATIONS)
