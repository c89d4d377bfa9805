"""The vocabulary: the frozen records that every part of whylike passes around.

Times are whole seconds since 1970 (UTC). Ratings are on the store's one `RatingScale`.
"""

from __future__ import annotations

import math
from enum import StrEnum
from string import ascii_uppercase, digits
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from whylike.errors import UsageError

MAX_LEVELS = 26
"""Most values that a rating scale may have: each needs a label that is a single token (a digit or a letter)."""

CLOSE = 1e-6
"""Two ratings nearer than this are the same."""

Number = int | float
"""A number as people write it: whole ones without a point."""

Aspects = tuple[str, ...]
"""A short keyword list, most important first: what was liked, disliked or is cared about."""


class Record(BaseModel):
    """Base of all records: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RatingScale(Record):
    """The values that a rating can take: from `minimum` to `maximum` in steps of `step`."""

    minimum: float = 1.0
    maximum: float = 5.0
    step: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _is_a_scale(self) -> Self:
        if not all(map(math.isfinite, (self.minimum, self.maximum, self.step))) or self.maximum <= self.minimum:
            raise ValueError(f"a rating scale needs a minimum below its maximum, not {self.minimum:g}:{self.maximum:g}")
        levels = (self.maximum - self.minimum) / self.step
        if not math.isfinite(levels) or abs(levels - round(levels)) > CLOSE:
            raise ValueError(f"step {self.step:g} does not lead from {self.minimum:g} to {self.maximum:g}")
        if round(levels) + 1 > MAX_LEVELS:
            raise ValueError(
                f"a rating scale has at most {MAX_LEVELS} values, {round(levels) + 1} given; use a larger step"
            )
        return self

    @classmethod
    def parse(cls, text: str) -> RatingScale:
        """Read `MIN:MAX` or `MIN:MAX:STEP`, for example `1:10` or `0.5:5:0.5`.

        Raises `UsageError` where the text is not a scale.
        """
        shape = "write MIN:MAX or MIN:MAX:STEP, for example 1:5 or 0.5:5:0.5"
        try:
            minimum, maximum, *step = map(float, text.split(":"))
            (step_,) = step or (1.0,)
        except ValueError:
            raise UsageError(f"{text!r} is not a rating scale; {shape}") from None
        try:
            return cls(minimum=minimum, maximum=maximum, step=step_)
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UsageError(f"{text!r} is not a rating scale: {why}; {shape}") from None

    def place(self, rating: float) -> float:
        """Where a rating stands: 0 is the worst, 1 the best."""
        return (rating - self.minimum) / (self.maximum - self.minimum)

    @property
    def values(self) -> tuple[float, ...]:
        """All values, lowest first."""
        count = round((self.maximum - self.minimum) / self.step) + 1
        return tuple(round(self.minimum + index * self.step, 6) for index in range(count))

    @property
    def labels(self) -> tuple[str, ...]:
        """One single-token label per value, in order: the digit itself on scales like 1-5, else 0-9 or A-Z."""
        values = self.values
        itself = tuple(f"{value:g}" for value in values)
        if set(itself) <= set(digits):
            return itself
        return tuple((digits if len(values) <= len(digits) else ascii_uppercase)[: len(values)])

    def __contains__(self, rating: float) -> bool:
        return math.isfinite(rating) and any(abs(rating - value) < CLOSE for value in self.values)

    def nearest(self, rating: float) -> float:
        """The value closest to `rating`; of two equally close ones the lower."""
        return min(self.values, key=lambda value: (abs(value - rating), value))

    def __str__(self) -> str:
        step = "" if self.step == 1 else f":{self.step:g}"
        return f"{self.minimum:g}:{self.maximum:g}{step}"


class Item(Record):
    """Something that is reviewed."""

    item_id: str
    title: str = ""
    description: str = ""
    categories: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it: its title, else its id."""
        return self.title or self.item_id


class Review(Record):
    """What one user wrote about one item at one time."""

    review_id: str
    user_id: str
    item_id: str
    rating: float
    title: str = ""
    text: str
    timestamp: int
    helpful: int = 0


class ReviewSummary(Record):
    """One review as three keyword lists (Reason4Rec's aspects and preference elements, EXP3RT's Like and Dislike)."""

    review_id: str
    likes: Aspects = ()
    dislikes: Aspects = ()
    preferences: Aspects = ()
    adapter_version: str
    """What wrote it: the adapter version, and after `+` the recipe (prompts and constants) that it was used with."""
    praise: Aspects | None = None
    """The reviewer's own phrases for what was liked; None where the likes and dislikes are such phrases."""
    blame: Aspects | None = None
    """The same for what was disliked."""

    def quoted(self) -> ReviewSummary:
        """The same in the reviewer's own words alone."""
        if self.praise is None or self.blame is None:
            return self
        return self.model_copy(
            update={"likes": self.praise, "dislikes": self.blame, "praise": None, "blame": None},
        )


class Side(StrEnum):
    """Whose profile or history it is."""

    USER = "user"
    ITEM = "item"


class ItemProfile(StrEnum):
    """Which reviews of an item its profile, and whatever is said of the item, is made from (method: item profile)."""

    ALL = "all"
    """The newest ones, whoever wrote them."""
    HELPFUL = "helpful"
    """Those that most people found helpful."""
    NEIGHBOURS = "neighbours"
    """Those by the users most like this one."""


class Profile(Record):
    """What a user, or the users of an item, liked and disliked, in about five points each, as of a time."""

    side: Side
    subject_id: str
    likes: Aspects = ()
    dislikes: Aspects = ()
    adapter_version: str
    """What wrote it, as in a review summary."""
    source: str = ""
    """Hash of all that it was made from; a profile whose source has changed is stale."""
    average: float | None = None
    """The mean of all ratings known when it was made, or the one that came with an imported profile."""
    as_of: int | None = None
    """When the newest review that it rests on was written; an imported profile does not say."""


class Added(Record):
    """The document that `whylike review add --json` prints."""

    review_id: str
    user_id: str
    item_id: str
    rating: Number
    added: bool
    """Whether it is new to the store."""
    new_item: bool
    """Whether its item is."""


class Readmitted(Record):
    """The document that `whylike profile readmit --json` prints."""

    user_id: str


class RatedPair(Record):
    """A rating to evaluate against, never evidence: it is in no history and no average."""

    user_id: str
    item_id: str
    rating: float
    source: str
    """Where it came from, such as the name of a test file."""


class Attitude(StrEnum):
    """How a user takes something."""

    LIKE = "like"
    DISLIKE = "dislike"
    INDIFFERENT = "indifferent"
    """Does not mind it, whatever the reviews suggest."""


class Preference(Record):
    """What a user said of their own taste; it outweighs what their reviews suggest."""

    preference_id: str
    user_id: str
    attitude: Attitude
    about: str
    """What it is about, in the user's words: “long films”."""
    stated_at: int


class Rated(Record):
    """How many ratings a user gave or an item got before a time, and their mean."""

    count: int = 0
    average: float | None = None


class History(Record):
    """All that may be known of a pair before a time: the newest reviews of either side, newest first, and the averages.

    Method: "History of a pair" (the last 10 of each side; averages over all earlier ratings). Of the item others than
    the newest reviews may be chosen ("item profile").
    """

    user_id: str
    item_id: str
    before: int
    user_reviews: tuple[Review, ...] = ()
    item_reviews: tuple[Review, ...] = ()
    item_profile: ItemProfile = ItemProfile.ALL
    """How the item's reviews were chosen; unless it is `all`, the first is the one to read first, not the newest."""
    item_newest: tuple[float, ...] = ()
    """The item's newest ratings, newest first, whichever reviews were chosen."""
    user_rated: Rated = Rated()
    item_rated: Rated = Rated()
    stated: tuple[Preference, ...] = ()
    """What the user said of their own taste, newest first."""

    @property
    def sides(self) -> tuple[tuple[Side, str, tuple[Review, ...], Rated], ...]:
        """Either side of the pair, the user's first: whose it is, its reviews, and all its ratings."""
        return (
            (Side.USER, self.user_id, self.user_reviews, self.user_rated),
            (Side.ITEM, self.item_id, self.item_reviews, self.item_rated),
        )


class Expert(StrEnum):
    """The experts; each is one adapter over the shared base model."""

    SUMMARIZER = "summarizer"
    REASONER = "reasoner"
    PREDICTOR = "predictor"
    REWARD = "reward"

    def taught(self, version: str) -> bool:
        """Whether a version is that of an adapter for this expert, and not of the base model."""
        return version.startswith(f"{self}-")


class Provenance(Record):
    """How an adapter came to be, as whoever made it tells."""

    expert: Expert
    created_at: int
    command: str
    """The command that made it."""
    base_hash: str = ""
    """Fingerprint of the base model that it was trained on; empty where that is not known."""
    data_hash: str | None = None
    """SHA-256, in hex, of the examples that it was trained on."""
    data: str = ""
    """What these examples are from, and the terms of its use."""
    scales: tuple[RatingScale, ...] = ()
    """Those whose labels it was taught to answer with; empty where that is not known, and of one that does not rate."""
    parent: str | None = None
    """The adapter version that its training went on from."""
    ancestors: tuple[AdapterCard, ...] = ()
    """The cards of that version and of those that it went on from, the parent's last, each without its own."""
    made_with: dict[str, JsonValue] = {}
    """What pairs that it learned from were asked about with: other experts' versions, limits, `learned_until` (seconds
    since 1970, of the latest of them); `arrivals` (the number of what had last come into the store)."""
    settings: dict[str, JsonValue] = {}
    """Every setting of its training."""
    environment: dict[str, str] = {}
    """What else its weights depend on: device, precision and processes of its training, and the libraries' versions."""
    metrics: dict[str, float] = {}


class AdapterCard(Provenance):
    """What is known of an adapter version; it travels with the adapter's folder as `card.json`."""

    version: str
    """`<expert>-<first 8 hex digits of content_hash>`."""
    content_hash: str
    """SHA-256, in hex, of its weights and its configuration."""
    base_model: str
    rank: int
    """The highest rank of its matrices."""


class Promotion(Record):
    """A move of the pointer to an expert's live adapter version."""

    expert: Expert
    version: str | None
    """What was live from then on; None is the base model alone."""
    promoted_at: int
    promoted_by: str
    kind: Literal["promote", "rollback"]


class SummaryAnnotation(Record):
    """A review as a teacher summarised it."""

    item_id: str
    """What it is of; summaries of one item are never on both sides of a split."""
    title: str = ""
    text: str
    rating: float
    scale: RatingScale = RatingScale()
    likes: Aspects = ()
    dislikes: Aspects = ()
    preferences: Aspects = ()


class ReasonAnnotation(Record):
    """Why a user would or would not like an item, as a teacher wrote it, and what it was told of the two.

    The aspects are those of all the reviews that it was shown, repeats and all.
    """

    title: str
    """What the item is called; reasons about one item are never on both sides of a split."""
    user_likes: Aspects = ()
    user_dislikes: Aspects = ()
    user_preferences: Aspects = ()
    item_likes: Aspects = ()
    item_dislikes: Aspects = ()
    text: str


class ReasonDecision(Record):
    """What became of the search for a reason that brings the reward expert nearer to a rating that was given."""

    review_id: str
    """Of the pair; all that was told of it was written before this review."""
    user_id: str
    item_id: str
    outcome: Literal["kept", "hinted", "dropped", "failed"]
    """Kept without a hint or with one; no candidate was good enough; or the sampler failed, which is tried again."""
    read: tuple[str, ...] = ()
    """Ids of the reviews that its writer was told of; of older decisions it is not known."""
    annotation: ReasonAnnotation | None = None
    """The reason, and what its writer was told; None unless one was kept."""
    candidates: int = 0
    """Texts that were sampled."""
    leaked: int = 0
    """Those of them that may give the rating away."""
    gaps: tuple[float, ...] = ()
    """Of each of the others how much farther from the rating the reward expert is with it than without a reason."""
    sampler: str
    """Who wrote: a teacher's model, or a version of the Reasoner."""
    reward: str
    """The version of the reward expert."""
    tau: float
    tries: int
    why: str = ""
    """How the sampler failed."""
    decided_at: int = 0
    """Nanoseconds since 1970, from when the store keeps it: of what is decided of one pair the latest counts."""
