"""478 landmarks of a face, frame by frame: MediaPipe's published networks in torch, and what stands around them.

roi.py       the rotated square of the frame that a network sees; sampling it; points back to the frame
detector.py  faces anywhere in a frame, coarse and rare
network.py   the landmarks of one face that fills its input
indices.py   which landmarks make up the lips and the eyes
tracker.py   a state machine over frames: acquire, track, check
weights.py   the networks with their published weights

Knows frames and landmarks alone: no motion, no codec, no device but the CPU, no files but its weights.
"""
