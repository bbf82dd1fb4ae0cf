"""Many machines: which node a room lives on, told to the others by way of Redis.

lease.py       what a node says of itself, and what it has to say next; a state machine that is told the time
node.py        a node among others: renews its lease, places rooms, moves them when it drains
single.py      a node that knows of no others: nothing is asked, everything is here
registry.py    Redis (or Valkey) and its scripts; the one module that knows redis

A room lives on one node and its media never leave it. Knows the conference; no media, no HTTP.
"""
