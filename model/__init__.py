"""visavis' mathematics: motion algebra, networks, codec, training and evaluation.

Runs without a network and without a server, and may not import anything of `server/`.

The way of a frame through this package:

    face/ (find, crop) > talking_head.extract > registration/ > codec/ (quantise, predict, code)
        ~ channel ~ > codec/ (decode) > talking_head.render > temporal_filter

motion.py           the convention of axes, angles and units; keypoint_layout.py: the order of keypoints
description.py      profile, statistics and hash of a model, read without torch
talking_head.py     the assembled model: enrol, extract, align, render
face/               a head in a frame, and the steady square crop around it
networks/           the published networks, and in small/ those of the default profile
graphs/             the small profile's networks of each frame as compiled graphs
registration/       where background, body and keypoints have gone since the source image
source/             which frame makes a good source image
codec/              motion to bits and back, and the `.vav` container
clip/               a video file to `.vav` and back
media/              video, picture and other files, colour
train/, teacher/    training, and the landmark teacher from MediaPipe
evaluate/           metrics, rate and distortion, free view; perceptual/: the networks by which pictures are compared
weights/            the embedded weights and their manifest
commands/           the commands of `python -m model`
"""
