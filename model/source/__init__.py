"""Which frame makes a good source image, and which mouths and eyes stand beside it.

What a face shows, how clear it is, choices. Knows pictures and motion; no files, no codec. A live sender's choice of a
source image is `server/sender/media/source_choice.py`.
"""
