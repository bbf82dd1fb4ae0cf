"""Forward packets, or encode once and fan out; delay sound. `aiortc_private` alone touches aiortc's private names.

It may not know motion, the model, rooms or HTTP: frames and packets in, packets out.
"""
