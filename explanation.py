"""The published document of an explanation, and its parts; `graph/explanation.schema.json` is made from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from whylike.records import Attitude, ItemProfile, Number, Record, Side


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
    stated: list[str] = Field(
        default=[],
        exclude_if=lambda ids: not ids,
        description="Ids of what the user said of their own taste that it rests on",
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


class Effect(Record):
    """What one thing that the user said of their own taste does to the rating of an item."""

    attitude: Attitude
    about: str
    reviews: list[str] = Field(description="Reviews of the item that speak of it")
    of: int = Field(description="Reviews of the item that were read")
    described: bool = Field(description="Whether the item's description names it")
    shift: float = Field(description="In units of the rating scale; before all are limited together")


class Explanation(Record):
    """The answer to "why would I like this?": the document that `whylike explain --json` prints."""

    user_id: str
    item_id: str
    as_of: int
    rating: Rating
    reason: Reason | None
    profiles: Profiles
    evidence: list[Evidence]
    stated: list[Effect] = Field(
        default=[],
        exclude_if=lambda effects: not effects,
        description="What the user said of their own taste, which outweighs what their reviews suggest",
    )
    adapters: dict[Literal["summarizer", "reasoner", "predictor"], str]
    engine: str
    seconds: dict[Literal["summarize", "reason", "predict", "teacher"], float]
    notes: list[str] = Field(
        default=[], description="What the reader should know, such as that the user has no reviews yet"
    )
