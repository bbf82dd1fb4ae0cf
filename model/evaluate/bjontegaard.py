"""Bjontegaard rate difference (Bjontegaard 2001, VCEG-M33), with monotone piecewise cubics in place of one polynomial.

Of two curves of quality over rate: by how much one needs less rate than the other, in the mean over the qualities that
both reach.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]
"""(rate, quality) of each point."""

LEAST_OVERLAP = 0.05
"""Share of the narrower curve's qualities that both must reach."""


def bd_rate(curve: Curve, reference: Curve) -> float | None:
    """Mean rate of `curve` against `reference` at equal quality, in percent: -50 takes half of it.

    Quality may rise or fall with rate. Points that are worse than another of their curve at no lower rate are left out.
    None where a curve has fewer than three points, or both share too few qualities.
    """
    rates, qualities = np.array(reference).T
    rising = bool(np.corrcoef(np.log(rates), qualities)[0, 1] > 0)
    ours, theirs = (_front(c, rising) for c in (curve, reference))
    if min(len(ours), len(theirs)) < 3:
        return None
    low, high = max(ours[0][0], theirs[0][0]), min(ours[-1][0], theirs[-1][0])
    narrower = min(c[-1][0] - c[0][0] for c in (ours, theirs))
    if high - low <= LEAST_OVERLAP * narrower:
        return None
    means = []
    for points in (ours, theirs):
        quality, log_rate = np.array(points).T
        means.append(float(PchipInterpolator(quality, log_rate).integrate(low, high)) / (high - low))
    return float(np.expm1(means[0] - means[1]) * 100)


def _front(curve: Curve, rising: bool) -> list[tuple[float, float]]:
    """(quality, log rate) of the points that no other beats, by rising quality."""
    best: list[tuple[float, float]] = []
    for rate, quality in sorted(curve):
        better = not best or (quality > best[-1][0] if rising else quality < best[-1][0])
        if better:
            best.append((quality, float(np.log(rate))))
    return sorted(best)
