"""The sender daemon: a camera, a file or a recording becomes a few kbit/s of motion, published into a room.

    capture (thread) > head > extraction (thread) > motion_publisher ~ data channel ~
    sound (thread) > Opus packets ~ RTP ~          source_choice > source_upload ~ HTTP ~

`daemon.py` wires these together; `session.py` is one connection, `reconnect.py` decides when there is a next one.
Decisions (`source_choice`, `reconnect`, `heartbeat`, `status_line`) are plain state machines that are told the time.

Knows nothing of the receiver: the two meet in docs/protocol.md only. Must run without uvloop and without a GPU.
"""
