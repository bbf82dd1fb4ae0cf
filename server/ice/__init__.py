"""ICE of all connections of a process over one UDP port (RFC 8445): which datagram belongs to which connection.

`demultiplexer.py` decides and is pure, `udp_port.py` has the sockets, and `aioice_private.py` joins both to aioice's
connections. Nothing here knows rooms, HTTP, settings or media.
"""
