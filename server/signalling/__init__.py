"""Who is in which room, who publishes and who watches: the conference behind HTTP and WebSocket.

conference.py      joins all of these, and acts on what changes
rooms.py           the state machine of rooms; participant.py and resumption.py are its parts
seats.py           the signalling connection of each participant
publishers.py      who publishes, on which connection
subscriptions.py   who watches whom, on which connection
offer.py           checks an SDP offer; connection.py answers it
speaker.py         who speaks
protocol.py        the messages on the WebSocket
ports.py           what is asked of a participant's media

Knows aiortc's peer connections and the ports; no HTTP, no media, no model.
"""
