"""The parts that an evaluation can leave out, to see what they add; by name only, so that the command line is quick."""

from __future__ import annotations

from enum import StrEnum


class Ablation(StrEnum):
    """A part that is left out."""

    NO_REASON = "no-reason"
    """The averages and the evidence alone."""
    NO_AVERAGES = "no-averages"
    """The model and the reason alone; neither its prompt nor the calibrator sees an average."""
    ONE_STEP = "one-step"
    """The rated reviews as they are in the reason's place: no summaries, no profiles, no reason."""
