"""The motion bitstream: statistics, quantiser, entropy coder, messages, both coders, rate and the `.vav` container.

NumPy, Pillow (for the source image) and the standard library only: this folder knows nothing of torch, of networks, of
faces, of video files or of sockets, so a sender without a GPU and a second implementation in another language need
nothing else. `docs/protocol.md` describes the same formats byte by byte.
"""
