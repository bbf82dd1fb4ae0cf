"""The embedded weights and their manifest; export from a training checkpoint, and verification.

small.safetensors   half-precision networks and the codec's statistics (`codec.*`)
open.safetensors    the same networks, trained on the open class alone
NAME_eye_enhancer   the network that corrects what NAME draws of eyes
NAME.md             model card
manifest.json       name, size, sha256 and licence of every file; read and written by manifest.py
"""
