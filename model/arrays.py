"""Types of NumPy arrays that several folders share; a shape stands where a name is used."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
"""Positions, motions, measurements."""

Mask: TypeAlias = NDArray[np.bool_]
"""True where something holds."""
