"""The golden vectors of the page's arithmetic are still what the daemon computes."""

from __future__ import annotations

import json

import pytest

from tests.server.sender.media.extraction_vectors import PATH, build


def test_the_daemon_computes_the_golden_vectors() -> None:
    golden = json.loads(PATH.read_text())
    built = json.loads(json.dumps(build()))
    assert built.keys() == golden.keys()
    for name in golden:
        assert _numbers(built[name]) == pytest.approx(_numbers(golden[name]), abs=2e-4), name


def _numbers(value: object) -> list[float]:
    """All numbers in a JSON value, in order."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in _numbers(part)]
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    return [float(value)] if isinstance(value, int | float) else []
