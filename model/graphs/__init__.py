"""The small profile's per-frame networks as compiled graphs: several threads that share busy cores without waiting.

tracing.py   networks with tensors as arguments and result, and their traces
runtime.py   the one module that knows OpenVINO: silent import, conversion, compilation, one inference
cache.py     compiled graphs on disk, so that a second start makes none
layout.py    a change to the converted graph that spares copies
networks.py  `GraphNetworks`: the networks that `TalkingHead` calls, the per-frame ones as graphs
engine.py    which engine runs: torch, graphs, or what fits

Graphs are made in the process from the weights that are loaded, or read as an earlier process made them from the same
weights, code, versions and processor. Nothing is downloaded.
"""
