"""Every operation of the API."""

from __future__ import annotations

from server.routes.api import invitations, nodes, recordings, rooms

OPERATIONS = (*invitations.OPERATIONS, *rooms.OPERATIONS, *recordings.OPERATIONS, *nodes.OPERATIONS)
