"""The network bench: one whole call over a line that loses, delays, reorders, narrows, breaks off or moves.

The real daemon, server and codec run in one process on an event loop whose time is virtual (`virtual_loop.py`); their
datagrams go through a model of a line (`link.py`, `datagrams.py`), what they say over TCP through `tcp_line.py`. The
renderer alone is a stand-in (`stand_in.py`). Runs with one seed are equal, whatever the machine is doing.
"""
