"""What the sender sends: camera, microphone and files in; motion, sound and source images out, from their threads.

Knows the model and PyAV; no network.
"""
