"""How far a viewer may turn a head, degrees either way: one bound for the protocol and for the receiver.

A module of its own, so that whoever only checks requests need not load torch.
"""

from __future__ import annotations

# Beyond these too much is seen that no source image shows.
MAX_YAW, MAX_PITCH, MAX_ROLL = 45, 30, 30
