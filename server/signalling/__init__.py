"""Who is in which room, who publishes and who watches: the conference behind HTTP and WebSocket.

Knows aiortc's peer connections and the ports of `ports.py`; no HTTP, no media, no model.
"""
