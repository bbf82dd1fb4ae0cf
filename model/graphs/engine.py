"""Which engine runs a model's networks."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from model.errors import InputError
from model.graphs.cache import GraphCache, default_folder, weights_digest
from model.graphs.networks import GraphNetworks
from model.graphs.runtime import GraphError, openvino
from model.networks.small import SmallNetworks

logger = logging.getLogger(__name__)

Engine = Literal["auto", "graphs", "torch"]
"""auto: graphs where they run, that is the small profile on an x86-64 CPU with the package installed; else torch."""


def graph_networks(
    networks: nn.Module, size: int, device: torch.device, engine: Engine, threads: int, ahead: Sequence[str] = ()
) -> GraphNetworks | None:
    """The networks with graphs in them, or None when torch is to run them.

    size: picture side, pixels; threads: of the graphs, 0 takes every core; ahead: as `GraphNetworks` takes it.
    Raises InputError when `engine` is graphs and they cannot run.
    """
    if engine == "torch":
        return None
    required = engine == "graphs"
    try:
        small = _supported(networks, device, required)
        versions = (openvino().__version__, torch.__version__)
        identity = (weights_digest(small), repr(small.config), str(size), str(threads), *versions)
        return GraphNetworks(small, size, threads, required, GraphCache(default_folder(), *identity), ahead)
    except (InputError, GraphError) as error:
        if required:
            raise InputError(str(error)) from None
        logger.info("torch runs the networks: %s", error)
        return None


def _supported(networks: nn.Module, device: torch.device, required: bool) -> SmallNetworks:
    """The same networks, of which is known that graphs can run them here. Raises InputError and GraphError."""
    if not isinstance(networks, SmallNetworks):
        raise InputError("compiled graphs are for the small profile")
    if device.type != "cpu":
        raise InputError(f"compiled graphs run on a CPU, not on {device}")
    if not required and platform.machine().lower() not in ("x86_64", "amd64"):
        raise InputError("compiled graphs are measured on x86-64 alone")
    openvino()
    return networks
