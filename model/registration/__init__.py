"""Where the parts of a frame have gone since the source image: registration on the sender, frame by frame.

similarity.py        a part that moves as a whole: shift, size and tilt (Lucas and Kanade 1981), and a vote on them
background.py        the background, by its similarity
body.py              shoulders and clothes, by theirs
keypoints.py         each keypoint and the residual flow grid, by Gauss-Newton on the receiver's own dense motion
keypoint_tracker.py  the same from frame to frame
robust.py            constants of robust statistics
tracker.py           all of it together, for a live sender and for a clip

Knows motion, the layout of keypoints and the networks' dense motion; no files, no faces, no codec.
"""
