"""The published document of an explanation, and its parts; `graph/explanation.schema.json` is made from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from whylike.records import ItemProfile, Number, Record, Side


class AspectLists(Record):
    """Likes and dislikes, as they stand in the published document."""

    likes: list[str]
    dislikes: list[str]


class SummaryLists(AspectLists):
    """A review summary, as it stands in the published document."""

    preferences: list[str]
    praise: list[str] | None = Field(
        default=None,
        exclude_if=lambda phrases: phrases is None,
        description="The reviewer's own phrases for what was liked; left out where the lists are made of such phrases",
    )
    blame: list[str] | None = Field(
        default=None,
        exclude_if=lambda phrases: phrases is None,
        description="The same for what was disliked",
    )


class Rating(Record):
    """A predicted rating: the distribution over the scale and what is read off it."""

    scale: Annotated[
        list[Number], Field(min_length=2, max_length=3, description="minimum, maximum and, unless 1, step")
    ]
    expectation: float
    mode: Number
    distribution: dict[str, float]
    interval: Annotated[list[Number], Field(min_length=2, max_length=2)]
    uncalibrated_expectation: float
    bias_baseline: float


class Sentence(Record):
    """One sentence of a reason with the reviews it rests on."""

    text: str
    evidence: list[str]
    profiles: list[Side] = Field(
        default=[],
        exclude_if=lambda sides: not sides,
        description="Sides whose imported profile it rests on: that side's reviews are not known",
    )
    supported: bool


class Reason(Record):
    """Why this user would or would not like this item."""

    text: str
    sentences: list[Sentence]


class Evidence(Record):
    """A review that the answer could rest on, with its summary."""

    id: str
    user_id: str
    item_id: str
    rating: Number
    timestamp: int
    summary: SummaryLists


class ItemAspects(AspectLists):
    """An item's profile, as it stands in the published document."""

    strategy: ItemProfile = Field(default=ItemProfile.ALL, description="Which of the item's reviews it is made from")


class Profiles(Record):
    """Both sides' profiles."""

    user: AspectLists
    item: ItemAspects


class Explanation(Record):
    """The answer to "why would I like this?": the document that `whylike explain --json` prints."""

    user_id: str
    item_id: str
    as_of: int
    rating: Rating
    reason: Reason | None
    profiles: Profiles
    evidence: list[Evidence]
    adapters: dict[Literal["summarizer", "reasoner", "predictor"], str]
    engine: str
    seconds: dict[Literal["summarize", "reason", "predict", "teacher"], float]
    notes: list[str] = Field(
        default=[], description="What the reader should know, such as that the user has no reviews yet"
    )
