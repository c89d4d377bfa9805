"""The state of one pair's query: plain values that survive a checkpoint as JSON."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from whylike.records import Record

Json = dict[str, Any]
"""A record as plain values (`model_dump(mode="json")`)."""


def merged(left: Json, right: Json) -> Json:
    """Both, the right one winning: how parallel nodes' results are joined."""
    return {**left, **right}


def summed(left: dict[str, float], right: dict[str, float]) -> dict[str, float]:
    """Seconds spent per step, added up over its nodes."""
    return {name: left.get(name, 0.0) + right.get(name, 0.0) for name in {**left, **right}}


class PairState(TypedDict, total=False):
    """What the nodes of `graph.pair` read and write."""

    user_id: str
    item_id: str
    as_of: int
    with_reason: bool
    current: bool
    """Whether the answer is as of now, not of a moment in the past."""
    supposed: list[Json]
    """What the user is supposed to have said of their own taste; of such an answer nothing is kept."""
    began: float
    """When the summaries were begun: seconds since 1970."""
    route: str
    history: Json
    imported: Json
    """By side: the imported profile that stands in for reviews."""
    missing: list[str]
    summaries: Annotated[Json, merged]
    profiles: Json
    told: str
    """What the Reasoner was asked, in words: grounding keeps the reason from repeating it."""
    free: bool
    """Whether no grammar held the reason: then what rests on nothing is left out."""
    held: bool
    """Whether a grammar has to hold the next one, since nothing was left of this one."""
    written: str
    points: list[Json]
    """What the reason was held to (`agents.matching`)."""
    balance: float
    """How far the points speak for the item."""
    reason: Json | None
    left_out: int
    """Sentences of what was written that may not be said, or that no review bears out."""
    teacher: bool
    """Whether a teacher may be asked; not there where it may not."""
    consulted: bool
    """Whether it has been asked for a reason."""
    reason_by: str
    """The teacher that wrote the reason, and its recipe; not there where the student did."""
    readout: Json
    """What the rating was made from (`agents.calibration`)."""
    rating: Json
    stated: list[Json]
    """What the user said of their own taste, and what that does to the rating (`explanation.Effect`)."""
    notes: Annotated[list[str], list.__add__]
    seconds: Annotated[dict[str, float], summed]


class Batch(TypedDict):
    """What one of the parallel summarize nodes is sent."""

    review_ids: list[str]


class Event(Record):
    """Progress of a query, as it streams: a node's count, perhaps with what it costs, or a piece of the reason's text.

    The node `draft` has pieces of a text of which only a part may be told: what is told comes after, from `reason`.
    """

    node: str
    done: int = 0
    total: int = 0
    text: str = ""
