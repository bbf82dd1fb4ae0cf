"""The embedded weights and their manifest; export from a training checkpoint, and verification.

small.safetensors   half-precision networks and the codec's statistics (`codec.*`)
small.md            model card
manifest.json       name, size, sha256 and licence of every file; read and written by manifest.py
"""
