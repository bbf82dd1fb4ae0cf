"""Constants of robust statistics, for grey values that the registered source image does not explain."""

from __future__ import annotations

DEVIATIONS_PER_MEDIAN = 1.4826
"""Standard deviation of a normal distribution, in medians of its absolute values."""

TUKEY = 4.685
"""Standard deviations from which Tukey's biweight counts a value for nothing: 95 % efficiency for normal errors."""
