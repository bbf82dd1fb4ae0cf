"""The sender daemon: a camera, a file or a recording becomes a few kbit/s of motion, published into a room.

    media/: capture (thread) > extraction (thread) > source choice    connection/: motion publisher ~ data channel ~
            sound (thread) > Opus packets                                          Opus track ~ RTP ~, upload ~ HTTP ~

`build.py` puts a daemon together, with `live.py` where a camera or a film needs the model; `daemon.py` keeps one
connection alive for one feed of media. Decisions (source choice, reconnection, heartbeat, status line) are plain state
machines that take the time.

Knows nothing of the receiver: the two meet in docs/protocol.md only. Must run without uvloop and without a GPU.
"""
