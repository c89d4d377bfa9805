"""How close texts are in meaning, to the digits that are the same on every run.

The last digits of a vector depend on the texts that it was computed together with, so nothing may be decided by them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIGITS = 4
"""Digits of a cosine that count."""


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine of every row of `left` [n, dimension] with every row of `right` [m, dimension], as [n, m]."""
    return np.round(left @ right.T, DIGITS)
