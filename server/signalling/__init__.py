"""Who is in which room, who publishes and who watches: the conference behind HTTP and WebSocket.

conference.py      joins all of these, and acts on what changes
rooms.py           the state machine of rooms, and participant.py one of those in them
resumption.py      signed tokens by which a client comes back as who it was
seats.py           the signalling connection of each participant
publishers.py      who publishes, on which connection
subscriptions.py   who watches whom, on which connection
offer.py           checks an SDP offer; connection.py answers it
speaker.py         who speaks
protocol.py        the messages on the WebSocket
ports.py           what is asked of a participant's media

Knows aiortc's peer connections and the ports; no HTTP, no media, no model.
"""
