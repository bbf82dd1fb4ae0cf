"""The receiving side of one publishing participant: motion in, rendered and encoded picture and delayed sound out.

In here: playout buffer, clock synchronisation, source cache, render engine, and `Publication`, which joins them.
It knows `model` and `server.media`; it may not know HTTP, WebSockets, rooms, tokens or settings files.
"""
