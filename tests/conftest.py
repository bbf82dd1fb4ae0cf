"""What holds for every test: torch runs the networks, and nothing waits for ever."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

# No test depends on a time being short: cores are shared.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Compiled graphs start threads of their own, which do not go with forks and signals of a test process. They are tested
# in processes of their own (`tests.child_process`); in this one the package is not to be found, whoever asks for it.
sys.modules["openvino"] = None  # type: ignore[assignment]
# Servers that tests start as processes: seconds of compiling would be added to each.
os.environ["VISAVIS_ENGINE"] = "torch"

PATIENCE_SECONDS = 600
"""A browser test waits up to minutes for a single condition on two slow cores; others keep pyproject's limit."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that drive a whole call the time they may take."""
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(PATIENCE_SECONDS))
