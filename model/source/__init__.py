"""Which frame makes a good source image: what its face shows, how clear it is, and the choice over a clip.

Knows pictures and motion; no files, no codec. A live sender's choice is `server/sender/media/source_choice.py`.
"""
