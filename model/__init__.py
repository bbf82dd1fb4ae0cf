"""visavis' mathematics: motion algebra, networks, codec, training and evaluation.

Runs without a network and without a server, and may not import anything of `server/`.

The way of a frame through this package:

    face/ (find, crop) > talking_head.extract > codec/ (quantise, predict, code)
        ~ channel ~ > codec/ (decode) > talking_head.render
"""
