"""The discriminator beside a training run: its own optimiser, its hinge step, and its losses for the generator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.train.losses import discriminator_hinge, feature_matching, generator_hinge


class Adversary:
    """D of arXiv 2011.15126: patches, hinge loss, feature matching; Adam with the paper's betas."""

    def __init__(self, config: DiscriminatorConfig, device: torch.device, rate: float = 2e-4) -> None:
        self.discriminator = Discriminator(config).to(device)
        self._optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=rate, betas=(0.5, 0.999))

    def judge(self, frame: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Terms `gan` and `feature_matching` of the generator's objective for frames (B, 3, S, S)."""
        self.discriminator.requires_grad_(False)
        fake = self.discriminator(frame)
        with torch.no_grad():
            real = self.discriminator(target)
        return {"gan": generator_hinge(fake), "feature_matching": feature_matching(real, fake)}

    def learn(self, frame: Tensor, target: Tensor) -> None:
        """One step of the discriminator on what the generator made and what it should have made."""
        self.discriminator.requires_grad_(True)
        loss = discriminator_hinge(self.discriminator(target), self.discriminator(frame.detach()))
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"discriminator": self.discriminator.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.discriminator.load_state_dict(state["discriminator"])
        self._optimiser.load_state_dict(state["optimiser"])
