"""Measuring pictures and bit rates: metrics, perceptual and identity networks, baselines, conventional codecs.

Needed to evaluate and to train, never to run a call: nothing outside `model/train`, `model/evaluate` and
`model/commands` may import this folder. May know `model/face`, `model/codec` and `model/talking_head`; knows nothing
of `server/`.
"""
