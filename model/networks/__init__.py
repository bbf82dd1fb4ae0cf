"""The networks of face-vid2vid (arXiv 2011.15126): one file each, tensor shapes on every line.

The files of this folder have the published shapes and are assembled in `paper.py`; `small/` holds the networks of the
embedded default profile. Both sets offer the one interface that `model.talking_head.TalkingHead` wraps: `canonical`,
`motion`, `appearance` and `synthesise`.

Knows tensors and `model.motion`; may not know of files, video, faces, the codec, or the server.
"""
