"""What `python -m server bench` measures: cost of a further viewer, latency and lip sync of the pipeline.

Peers run in processes of their own, so that the CPU time measured is the receiver's. Knows `server.media` and
`server.receiver`.
"""
