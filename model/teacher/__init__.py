"""What MediaPipe says of a face, from an environment of its own (`make teacher`); used by training and evaluation.

landmarks.py            478 landmarks a frame from a child process (landmarks_process.py, the teacher's side)
decompose.py            landmarks to head pose and expression
silhouette_weights.py   the published weights of the silhouette network (silhouette_process.py, the teacher's side)
"""
