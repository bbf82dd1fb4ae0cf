"""Where training begins: keypoints at the mean face of the training people, free ones around it."""

from __future__ import annotations

import torch

from model.networks.small import SmallNetworks
from model.profiles.small import FREE
from model.train.data import ClipSet


def start_from_teacher(networks: SmallNetworks, clips: ClipSet) -> None:
    """Set the mean canonical keypoints and the mean pose that the networks regress from."""
    free = torch.tensor(FREE, dtype=torch.float32)
    networks.canonical_detector.mean.copy_(torch.cat([clips.canonical_mean(), free]))
    networks.motion_extractor.pose_mean.copy_(clips.pose_mean())
