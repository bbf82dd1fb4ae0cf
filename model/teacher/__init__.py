"""What MediaPipe says of a face, from an environment of its own (`make teacher`); used by training and evaluation.

landmarks.py            478 landmarks a frame from a child process (landmarks_process.py, the teacher's side)
decompose.py            landmarks to head pose and expression
published.py            networks that MediaPipe publishes, as arrays (published_process.py, the teacher's side)
silhouette_weights.py   the weights of the silhouette network
face_weights.py         the weights of landmark network and face detector
"""
