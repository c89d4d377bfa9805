"""Distributions over a rating scale: the plainest one with a mean, and what is read off one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whylike.records import RatingScale

Floats = NDArray[np.float64]

ALIKE = 0.005
"""Shares that differ by less are shown as the same percentage: neither is likelier."""
COVERED = 0.8
"""Share of the distribution within the interval, and of the ratings within a calibrated one."""
NEAR = 1e-12
"""A mean that is off by less, in shares of the scale, is the one that was asked for."""
STEEPEST = 1000.0
"""Tilt beyond which a distribution is nothing but the end of its scale."""


def tilted(scale: RatingScale, mean: float, base: ArrayLike | None = None) -> Floats:
    """The distribution over the scale nearest to `base` that has this mean; shares `[values]`.

    Without a base it is the one of greatest entropy: p(r) proportional to exp(tilt * r). At either end of the scale the
    mean is held a hundredth of a step away from it, so that no rating is impossible.
    """
    span = scale.maximum - scale.minimum
    return np.asarray(tilts(len(scale.values), [(mean - scale.minimum) / span], base)[0])


def tilts(levels: int, places: ArrayLike, base: ArrayLike | None = None) -> Floats:
    """As `tilted`, for many means at once.

    Args:
        levels: Values of the scale.
        places: Where each mean stands on the scale `[n]`, 0 its lowest value and 1 its highest.
        base: Shares to stay near to `[levels]`, all above 0.

    Returns:
        Shares `[n, levels]`.
    """
    at = np.linspace(0.0, 1.0, levels)
    margin = 0.01 / (levels - 1)
    wanted = np.clip(np.asarray(places, dtype=np.float64), margin, 1 - margin)
    start = np.zeros(levels) if base is None else np.log(np.asarray(base, dtype=np.float64))
    low = np.full(len(wanted), -STEEPEST)
    high = -low
    tilt = np.zeros(len(wanted))
    shares = np.empty((len(wanted), levels))
    for _ in range(80):  # Newton's method, or a bisection where that leaves the bracket
        shares = softmax(start + tilt[:, None] * (at - at.mean()))
        means = shares @ at
        off = wanted - means
        if np.abs(off).max(initial=0.0) < NEAR:
            break
        low, high = np.where(off > 0, tilt, low), np.where(off > 0, high, tilt)
        variances = np.maximum(shares @ at**2 - means**2, 1e-12)
        step = tilt + off / variances
        tilt = np.where((low < step) & (step < high), step, (low + high) / 2)
    return shares


def moments(values: ArrayLike, shares: ArrayLike) -> tuple[float, float]:
    """Mean and standard deviation of a distribution."""
    at, weights = np.asarray(values, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    mean = float(weights @ at)
    return mean, float(np.sqrt(weights @ (at - mean) ** 2))


def mode(values: Floats, shares: Floats) -> float:
    """The likeliest value; of those alike to `ALIKE` the one nearest to the expectation, of two as near the lower."""
    likely = values[shares >= shares.max() - ALIKE]
    return float(likely[np.abs(likely - shares @ values).argmin()])


def interval(values: Floats, shares: Floats) -> tuple[float, float]:
    """The shortest run of values that holds at least `COVERED` of the shares; of equally short ones the likeliest."""
    runs = [
        (last - first, -float(shares[first : last + 1].sum()), first, last)
        for first in range(len(values))
        for last in range(first, len(values))
        if shares[first : last + 1].sum() >= COVERED - 1e-9
    ]
    _, _, first, last = min(runs)
    return float(values[first]), float(values[last])


def softmax(logits: Floats) -> Floats:
    """Shares in proportion to the exponentials, along the last axis."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def log(shares: ArrayLike) -> Floats:
    """Logarithms of shares, of which none is taken to be impossible."""
    return np.asarray(np.log(np.maximum(np.asarray(shares, dtype=np.float64), 1e-9)))
