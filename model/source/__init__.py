"""Which frame makes a good source image, and which mouths stand beside it: what a face shows, how clear it is, choices.

Knows pictures and motion; no files, no codec. A live sender's choice is `server/sender/media/source_choice.py`.
"""
