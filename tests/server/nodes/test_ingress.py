"""What the chart's Ingress lets through is what clients need of a receiver, and no more."""

from __future__ import annotations

import re
from pathlib import Path

from server.app import build_app
from server.settings import Settings
from tests.server.nodes import KEY

INGRESS = Path(__file__).parents[3] / "deploy/helm/visavis/templates/ingress.yaml"
INSIDE = {"/metrics", "/healthz", "/readyz"}


def served(node_path: str = "") -> set[str]:
    """Paths of all routes."""
    settings = Settings(**KEY, node_address=f"https://calls.example.org{node_path}")
    return {route.resource.canonical for route in build_app(settings, None).router.routes() if route.resource}


def let_through() -> set[str]:
    listed = re.search(r"range \$path := list ((?:\"[^\"]+\" ?)+)", INGRESS.read_text())
    assert listed is not None
    return set(re.findall(r'"([^"]+)"', listed.group(1)))


def test_every_path_but_those_for_the_inside_is_let_through() -> None:
    paths = {path for path in served() if path != "/"}
    prefixes = let_through()
    reached = {path for path in paths if any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)}
    assert paths - reached == INSIDE
    assert all(any(path.startswith(prefix) for path in paths) for prefix in prefixes)


def test_below_the_path_of_a_node_nothing_is_for_the_inside() -> None:
    own = {path.removeprefix("/nodes/a") for path in served("/nodes/a") if path.startswith("/nodes/a")}
    assert own
    assert not own & INSIDE
