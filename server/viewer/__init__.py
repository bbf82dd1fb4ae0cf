"""One participant of a room, watched by a program: to a file, a pipe, or a virtual camera that others programs see.

A client as any other: knows the protocol and what becomes of pictures, and nothing of the receiver.
"""
