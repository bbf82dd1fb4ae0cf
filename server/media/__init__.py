"""Encode once, fan out packets, delay and relay sound; `aiortc_private` alone touches aiortc's private names.

It may not know motion, the model, rooms or HTTP: frames and packets in, packets out.
"""
