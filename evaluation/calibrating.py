"""Fits a calibrator (`agents.calibration`) on validation pairs, and finds out what each group of features adds.

The averages are always in: without anything else the calibrator is a bias model whose weights were learned. A further
group is taken only where it lowers the cross-validated error by more than a standard error, so that a model that adds
nothing is left out, and the comparison says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from whylike.agents.calibration import GROUPS, Calibrator, Nested, Readout, Term, based
from whylike.agents.distributions import COVERED, Floats, log, tilts

FEWEST = 10
"""Validation pairs at least."""
FOLDS = 10
ROUNDS = 3
"""Times that the pairs are dealt into folds anew."""
PENALTIES = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Ridge penalties on the weights of standardised features, in pairs."""
INTERCEPT_PENALTY = 30.0
"""Pairs without any error that stand beside the real ones when the intercept is fitted."""
SHARPNESS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Powers of the histogram that are tried."""
UPPER_SHARES = (0.0, 0.125, 0.25, 0.375, 0.5)
"""Shares of the ratings outside the interval that may be above it."""
SEED = 0


class Fitted(NamedTuple):
    """A linear model of what is left of the ratings."""

    intercept: float
    terms: dict[str, Term]


def fit(
    readouts: Sequence[Readout],
    real: Sequence[float],
    histogram: Sequence[int],
    *,
    predictor: str = "",
    groups: Sequence[str] = tuple(GROUPS),
    covered: float = COVERED,
) -> Calibrator:
    """Fit a calibrator.

    Args:
        readouts: What is known of each validation pair; at least `FEWEST`.
        real: The ratings that were given.
        histogram: How often each value of the scale was given before, lowest first.
        predictor: What it belongs to (`Predictor.mark`).
        groups: Groups of features that may be used; the first is.
        covered: Share of the ratings that its interval shall cover.
    """
    scale = readouts[0].scale
    span = scale.maximum - scale.minimum
    start = np.array([(each.bias - scale.minimum) / span for each in readouts])
    given = (np.asarray(real, dtype=np.float64) - scale.minimum) / span
    known = [each.features for each in readouts]
    names = [name for group in groups for name in GROUPS[group] if any(name in each for each in known)]
    matrix = np.array([[each.get(name, np.nan) for name in names] for each in known]).reshape(len(known), len(names))
    chosen, penalty, foretold, tried = _choose(names, matrix, start, given, groups, span)
    columns = [name in {one for group in chosen for one in GROUPS[group]} for name in names]
    used = [name for name, kept in zip(names, columns, strict=True) if kept]
    intercept, terms = _ridge(used, matrix[:, columns], given - start, penalty)
    counts = np.array(histogram, dtype=np.float64) + 1
    shares = tuple((counts / counts.sum()).tolist())
    sharpness = _sharpness(shares, foretold, given)
    lower, upper = _ends(tilts(len(shares), foretold, based(shares, sharpness, len(shares))), given, covered)
    return Calibrator(
        predictor=predictor,
        groups=chosen,
        intercept=intercept,
        terms=terms,
        histogram=shares,
        sharpness=sharpness,
        lower=lower,
        upper=upper,
        covered=covered,
        pairs=len(readouts),
        tried=tried,
    )


def _choose(
    names: Sequence[str], matrix: Floats, start: Floats, given: Floats, groups: Sequence[str], span: float
) -> tuple[tuple[str, ...], float, Floats, tuple[Nested, ...]]:
    """The groups, the penalty, what cross-validation foretold with them, and what else was tried."""
    tried = [_nested((), 0.0, start, start, given, span)]
    chosen: tuple[str, ...] = ()
    penalty, foretold = 0.0, start
    for group in groups:
        wanted = (*chosen, group)
        columns = [name in {one for each in wanted for one in GROUPS[each]} for name in names]
        if not any(name in GROUPS[group] for name in names):
            continue
        used = [name for name, kept in zip(names, columns, strict=True) if kept]
        outcomes = [(_crossed(used, matrix[:, columns], start, given, each), each) for each in PENALTIES]
        crossed, best = min(outcomes, key=lambda outcome: float(((outcome[0] - given) ** 2).mean()))
        nested = _nested(wanted, best, crossed, foretold, given, span)
        tried.append(nested)
        if group == groups[0] or nested.gain < -nested.error:
            chosen, penalty, foretold = wanted, best, crossed
    return chosen, penalty, foretold, tuple(tried)


def _nested(
    groups: tuple[str, ...], penalty: float, foretold: Floats, before: Floats, given: Floats, span: float
) -> Nested:
    squares = (foretold - given) ** 2
    gains = (squares - (before - given) ** 2) * span**2
    return Nested(
        groups=groups,
        penalty=penalty,
        rmse=round(float(np.sqrt(squares.mean())) * span, 4),
        gain=round(float(gains.mean()), 6),
        error=round(float(gains.std() / np.sqrt(len(gains))), 6),
    )


def _crossed(names: Sequence[str], matrix: Floats, start: Floats, given: Floats, penalty: float) -> Floats:
    """What models that were fitted without a pair foretell for it, the mean of some rounds."""
    chance = np.random.default_rng(SEED)
    total = np.zeros(len(given))
    for _ in range(ROUNDS):
        fold = chance.permutation(len(given)) % FOLDS
        for number in range(FOLDS):
            out = fold == number
            intercept, terms = _ridge(names, matrix[~out], (given - start)[~out], penalty)
            total[out] += intercept + _applied(terms, matrix[out])
    return np.asarray(np.clip(start + total / ROUNDS, 0.0, 1.0))


def _ridge(names: Sequence[str], matrix: Floats, left: Floats, penalty: float) -> Fitted:
    """A ridge regression on standardised features; what is not known stands at its mean."""
    counted = np.isfinite(matrix)
    known = np.maximum(counted.sum(axis=0), 1)
    filled = np.where(counted, matrix, 0.0)
    means = filled.sum(axis=0) / known
    off = np.where(counted, matrix - means, 0.0)
    deviations = np.maximum(np.sqrt((off**2).sum(axis=0) / known), 1e-6)
    standard = off / deviations
    intercept = float(left.sum() / (len(left) + INTERCEPT_PENALTY))
    weights = np.linalg.solve(standard.T @ standard + penalty * np.eye(len(names)), standard.T @ (left - left.mean()))
    terms = {
        name: Term(mean=float(mean), deviation=float(deviation), weight=float(weight))
        for name, mean, deviation, weight in zip(names, means, deviations, weights, strict=True)
    }
    return Fitted(intercept, terms)


def _applied(terms: dict[str, Term], matrix: Floats) -> Floats:
    """As `agents.calibration.moved`, for many pairs at once."""
    total = np.zeros(len(matrix))
    for term, column in zip(terms.values(), matrix.T, strict=True):
        total += np.where(np.isfinite(column), term.weight * (column - term.mean) / term.deviation, 0.0)
    return total


def _sharpness(histogram: tuple[float, ...], foretold: Floats, given: Floats) -> float:
    """The power of the histogram whose distributions find the ratings likeliest."""
    levels = len(histogram)
    steps = np.rint(given * (levels - 1)).astype(int)

    def surprise(power: float) -> float:
        shares = tilts(levels, foretold, based(histogram, power, levels))
        return -float(log(shares[np.arange(len(steps)), steps]).mean())

    return min(SHARPNESS, key=surprise)


def _ends(shares: Floats, given: Floats, covered: float) -> tuple[float, float]:
    """How many standard deviations the interval's ends are from the mean, below and above.

    Ratings pile up at one end of the scale, so the two differ: of the ways to share out what is not covered, the one
    with the narrowest intervals is taken. Then both are stretched until enough is covered (split conformal).
    """
    at = np.linspace(0.0, 1.0, shares.shape[1])
    means = shares @ at
    deviations = np.sqrt((shares * (at - means[:, None]) ** 2).sum(axis=1))
    below, above = (means - given) / deviations, (given - means) / deviations
    rank = min(1.0, np.ceil((len(given) + 1) * covered) / len(given))
    best = (np.inf, 0.0, 0.0)
    for share in UPPER_SHARES:
        missed = 1 - covered
        low = max(float(np.quantile(below, 1 - missed * (1 - share))), 1e-3)
        high = max(float(np.quantile(above, 1 - missed * share)), 1e-3)
        stretch = float(np.quantile(np.maximum(below / low, above / high), rank, method="higher"))
        low, high = low * stretch, high * stretch
        width = float((np.minimum(means + high * deviations, 1) - np.maximum(means - low * deviations, 0)).mean())
        best = min(best, (width, low, high))
    return best[1], best[2]

