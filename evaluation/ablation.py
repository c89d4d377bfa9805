"""What an evaluation can leave out or do otherwise, to see what it adds; by name only, so that commands are quick."""

from __future__ import annotations

from enum import StrEnum


class Ablation(StrEnum):
    """A part that is left out or done otherwise."""

    NO_REASON = "no-reason"
    """Nothing but what is rated: a taught Predictor is asked without a reason, an untaught one not at all."""
    NO_AVERAGES = "no-averages"
    """The model and the reason alone; neither its prompt nor the calibrator sees an average, or a rating.

    Which points the reason tells is still chosen with the ratings of the reviews that they are from.
    """
    ONE_STEP = "one-step"
    """The rated reviews as they are in the reason's place: no summaries, no profiles, no reason."""
    HELPFUL = "item-profile-helpful"
    """Not the item's newest reviews, but those with the most helpful votes."""
    NEIGHBOURS = "item-profile-neighbours"
    """Not the item's newest reviews, but those by the users most like the pair's."""
