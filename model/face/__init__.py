"""Where the head is: find it, crop it steadily, map a rendered crop back.

box.py      a face in a frame; which of several is the main one; the face that a head pose describes
crop.py     the square crop: cut, paste back, where it lies for one face or for a whole clip
finder.py   faces of a frame by detector and landmarks, `HeadFinder`; crops for a still and for a file
tracker.py  frame by frame to a steady crop; pure but for the finder it is given

Knows the convention of head pose and the networks of landmarks, nothing of the codec or the server.
"""
