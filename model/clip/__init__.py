"""A talking head as a file: video to `.vav` and back (`encode`, `decode`).

Knows all of the model but training and evaluation; no server.
"""
