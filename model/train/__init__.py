"""Training: teacher labels, prepared data, losses, the trainer. Never imported at run time of a call."""
