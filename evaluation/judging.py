"""Whether a new adapter may take the place of the live one: not worse on what came in last, nor on what never changes.

Each figure is taken of both on the same examples. A paired bootstrap, which draws all of a user's (or an item's)
examples together, says how much worse the new one may be at most, with 95% certainty; where that is more than a margin
on either set, or cannot be told, the old one stays. So little evidence never promotes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whylike.evaluation.metrics import FEW, RESAMPLES
from whylike.evaluation.resampling import Rows, estimate
from whylike.records import Record

NEWEST, FROZEN = "newest", "frozen"
"""The sets: what came in last, from which this run has not learned, and what was chosen once, from which none does."""

Floats = NDArray[np.float64]


class Compared(Record):
    """A figure of the live adapter and of the new one on the same examples."""

    on: str = Field(description="newest or frozen")
    figure: str
    examples: int
    before: float = Field(description="Of the adapter that is live")
    after: float = Field(description="Of the new one")
    worse: float = Field(description="How much worse the new one is; below 0 it is better")
    low: float = Field(description="Lower end of the 95% interval of a paired bootstrap")
    high: float
    margin: float = Field(description="What the upper end may be at most")
    enough: bool = Field(description="Whether the examples are of enough users or items for the interval to say much")

    @property
    def passed(self) -> bool:
        """Whether the new one is not worse."""
        return self.enough and self.high <= self.margin


class Verdict(Record):
    """Whether the new adapter is promoted, and why."""

    promoted: bool
    why: str


def judge(compared: Sequence[Compared]) -> Verdict:
    """Promote where the new one is not worse in any figure on either set."""
    missing = {NEWEST, FROZEN} - {each.on for each in compared}
    if missing:
        return Verdict(promoted=False, why=f"there is nothing {min(missing)} to judge it by")
    failed = [each for each in compared if not each.passed]
    if not failed:
        return Verdict(promoted=True, why="it is not worse on what came in last, nor on what every run is judged by")
    first = max(failed, key=lambda each: (not each.enough, each.high - each.margin))
    if not first.enough:
        return Verdict(
            promoted=False, why=f"the {first.examples} {first.on} examples are of fewer than {FEW} users or items"
        )
    return Verdict(
        promoted=False,
        why=f"its {first.figure} on the {first.on} examples may be worse by {first.high:.4f}, and {first.margin:.4f} "
        f"is allowed ({first.before:.4f} before, {first.after:.4f} after)",
    )


def compare(  # noqa: PLR0917 - two of a kind beside each other read well
    on: str,
    figure: str,
    before: Callable[[Rows], float],
    after: Callable[[Rows], float],
    owners: Sequence[str],
    margin: float,
    *,
    higher_is_better: bool = False,
    seed: int = 0,
) -> Compared:
    """Compare a figure on examples, at least one.

    Args:
        on: Which set.
        figure: What it is called.
        before: The figure of the live adapter on the examples with these numbers.
        after: That of the new one.
        owners: Whose each example is, or what it is of.
        margin: How much worse the new one may be.
        higher_is_better: Which way the figure goes.
        seed: Seed of the bootstrap.
    """
    sign = -1 if higher_is_better else 1
    found = estimate(len(owners), lambda rows: sign * (after(rows) - before(rows)), seed, RESAMPLES, owners)
    every = np.arange(len(owners))
    return Compared(
        on=on,
        figure=figure,
        examples=len(owners),
        before=round(before(every), 4),
        after=round(after(every), 4),
        worse=found.value,
        low=found.low,
        high=found.high,
        margin=round(margin, 4),
        enough=len(set(owners)) >= FEW,
    )


def root_mean_square(off: Floats) -> Callable[[Rows], float]:
    """The RMSE of some rows of how far predictions are off."""
    return lambda rows: float(np.sqrt((off[rows] ** 2).mean()))


def f1(counts: Floats) -> Callable[[Rows], float]:
    """The F1 of some rows `[n, 3]` of how many aspects agree, were found and were wanted."""

    def figure(rows: Rows) -> float:
        both, found, wanted = counts[rows].sum(axis=0)
        return float(2 * both / max(found + wanted, 1))

    return figure


def share(counts: Floats) -> Callable[[Rows], float]:
    """The share of some rows `[n, 2]` of how many there are of a kind, and how many in all; 1 of none."""

    def figure(rows: Rows) -> float:
        of_kind, everything = counts[rows].sum(axis=0)
        return float(of_kind / everything) if everything else 1.0

    return figure
