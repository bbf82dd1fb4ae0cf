"""The receiving side of one publishing participant: motion in, rendered and encoded picture and delayed sound out.

In here: playout buffer, clock synchronisation, source cache, render engine, and `Publication`, which joins them. None
of the parts knows `Publication`: motion flows forward, and each picture carries its own times.
It knows `model` and `server.media`; it may not know HTTP, WebSockets, rooms, tokens or settings files.
"""
