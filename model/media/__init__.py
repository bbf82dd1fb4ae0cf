"""Pictures, videos and files at the model's edge: reading, writing, YUV planes, files that are complete or not there.

Knows PyAV, Pillow and torch's tensors; no motion, no networks, no codec.
"""
