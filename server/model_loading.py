"""Loads the model that the settings name, and torch with it, ready to render."""

from __future__ import annotations

import logging

import torch

from model.device import choose_device
from model.errors import InputError
from model.talking_head import TalkingHead
from server.errors import SettingsError
from server.metrics import Metrics
from server.receiver.torch_renderer import TorchRenderer
from server.settings import Settings

logger = logging.getLogger(__name__)

GRAPHS = ("landmarks", "rendering", "eyes")
"""What a receiver runs compiled: the one for source images, the other for every picture."""


def load_renderer(settings: Settings, metrics: Metrics) -> TorchRenderer:
    """The renderer that the settings call for, on the thread that is to render. Raises WeightsError, SettingsError."""
    model = load_model(settings)
    warm_up(model)
    logger.info(
        "model loaded",
        extra={"device": str(model.device), "engine": model.engine, "weights": model.weights_hash[:12]},
    )
    if model.device.type == "cuda":
        metrics.watch_gpu(lambda: torch.cuda.mem_get_info(model.device))
    return TorchRenderer(model, settings.torch_threads)


def warm_up(model: TalkingHead) -> None:
    """Run once what a receiver runs, so that the first caller does not wait for a compiler."""
    sharp = model.profile.sizes[-1]
    state = model.enrol(torch.zeros(3, sharp, sharp, dtype=torch.uint8))
    model.render([state], state.motion, size=sharp)


def load_model(settings: Settings) -> TalkingHead:
    """The model that the settings name, on their device and engine. Raises WeightsError, SettingsError."""
    try:
        device = choose_device(settings.device)
    except InputError as error:
        raise SettingsError(f"VISAVIS_DEVICE: {error}") from None
    if settings.random_weights:
        logger.warning("untrained weights: faces will not look like faces")
        return TalkingHead.random(device=device, engine=settings.engine, threads=settings.graph_threads)
    return TalkingHead.load(settings.weights, device, settings.engine, settings.graph_threads, GRAPHS)
