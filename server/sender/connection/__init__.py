"""The sender's line to one receiver: token, signalling, peer connection, motion channel, liveness, reconnection.

Knows the wire and aiortc; no cameras and no model beyond the motion encoder.
"""
