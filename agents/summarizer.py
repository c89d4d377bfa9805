"""The Summarizer: one review to what was liked, disliked and is cared about; many summaries to a profile.

An adapter that was taught writes the lists (`agents.aspects`); what the review does not support is left out of them,
and what is said again (`agents.support`). With them go the reviewer's own phrases that they were read from, or the
clearest of the review where there are none; it judges their tone too. Of the base model what follows holds.

What was liked and disliked are phrases of the review itself, so a summary holds nothing that the review does not say;
those that state a rating are left out. What is cared about are the concerns that these phrases are about. The model
judges the tone of each phrase in the light of the review's rating; on `review_summaries` of the teacher data that finds
more of the teacher's aspects than letting an untaught base model write them (`whylike evaluate summaries`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from whylike.adapters.engines.base import Engine, Weighing
from whylike.agents import aspects, phrases, ratings, support
from whylike.agents.closeness import cosines
from whylike.agents.prompting import prompt_file, render
from whylike.agents.recipe import constants, recipe
from whylike.memory.embeddings import Embedder
from whylike.records import Aspects, Expert, Profile, Rated, RatingScale, Review, ReviewSummary, Side

KEPT = 4
"""Phrases kept in each list of a summary."""
RATING_PULL = 3.0
"""Log-odds that a review's rating adds to the tone of its phrases, from the worst rating to the best; it takes them off
a phrase that concedes something (`phrases.concedes`)."""
SETTLED = 0.625
"""Where on the scale (0 worst, 1 best) a rating says nothing about the tone: the middle of 3 and 4 of 5."""
FAINT = 0.25
"""A phrase whose tone is nearer to neutral than this, in log-odds, is left out."""
PLAIN = 0.6
"""Tone that a phrase has by itself where it neither praises nor blames: about the median in reviews of a middling
rating, whose phrases the untaught model finds more positive than the neutral ones of its prompt."""
AGAINST = 0.6
"""Farther than this beyond `PLAIN` a phrase's own tone is not turned by the rating: “terrible singing” is no praise."""
LISTED = 1.5
"""How far, in log-odds, the tone of a phrase must be on the other side to be moved there from where a taught Summarizer
lists what it was read from: “no other good melodies” is no praise. What contradicts its list by less is left out."""
SPOKEN = 1.25
"""How far, in log-odds, the tone of a phrase by itself must be from `PLAIN` to stand for a review of which nothing
that a taught Summarizer lists can be quoted."""
POINTS = 5
"""Likes and dislikes of a profile (method: about five of each)."""
SAME = 0.6
"""Cosine from which two phrases are about the same thing."""
CONCERNS = (
    "story",
    "acting",
    "characters",
    "dialogue",
    "humour",
    "music",
    "singing",
    "lyrics",
    "sound quality",
    "pictures and camera work",
    "special effects",
    "pace",
    "length",
    "ending",
    "suspense",
    "violence",
    "emotion",
    "originality",
    "accuracy",
    "price",
    "quality of workmanship",
    "durability",
    "ease of use",
    "size and weight",
    "looks",
    "service and delivery",
    "suitable for children",
    "subtitles",
)
"""What people care about in general; a review's preferences are those that its phrases are about."""
ABOUT = 0.42
"""Cosine from which a phrase is about a concern."""
PREFERENCES = 3
"""Concerns kept of one review."""


class Toned(NamedTuple):
    """A phrase and how it sounds: log-odds of liked against disliked."""

    phrase: str
    own: float
    """By itself."""
    tone: float
    """In the light of the review's rating."""

    @property
    def clear(self) -> bool:
        """Whether it can stand as praise or as blame: the rating decides what is in doubt, but turns nothing round."""
        return abs(self.tone) >= FAINT and math.copysign(1, self.tone) * (self.own - PLAIN) >= -AGAINST


def said(review: Review) -> str:
    """All that a review says in words."""
    return f"{review.title}\n{review.text}"


def _pull(review: Review, scale: RatingScale) -> float:
    """What a review's rating adds to the tone of its phrases."""
    return RATING_PULL * (scale.place(review.rating) - SETTLED)


def _toned(phrase: str, own: float, pull: float) -> Toned:
    """How a phrase sounds in a review whose rating pulls so, away from what it concedes."""
    return Toned(phrase, own, own - pull if phrases.concedes(phrase) else own + pull)


def _listed(lists: aspects.Lists, quotes: Sequence[Toned | None]) -> tuple[Aspects, Aspects]:
    """The phrases that praise and those that blame, of those that a taught summary's likes and dislikes were read from.

    Args:
        lists: The summary.
        quotes: For each like, then each dislike, the phrase that it was read from; None where there is none.
    """
    sides: dict[bool, list[str]] = {True: [], False: []}
    for number, quote in enumerate(quotes):
        if quote:
            tone = quote.tone - PLAIN
            liked = tone + (LISTED if number < len(lists.likes) else -LISTED) > 0
            if (tone if liked else -tone) >= FAINT:
                sides[liked].append(quote.phrase)
    return tuple(sides[True]), tuple(sides[False])


def _standing_in(own: Mapping[str, float], pull: float) -> tuple[Aspects, Aspects]:
    """The same where of what is listed none is left: the clearest phrases of the side that the review's rating takes.

    Args:
        own: The phrases of the review, and the tone of each by itself.
        pull: What its rating adds to the tone.
    """
    sign = 1 if pull >= 0 else -1
    clear = [phrase for phrase, tone in own.items() if sign * (tone - PLAIN) >= SPOKEN]
    found = tuple(sorted(clear, key=lambda phrase: -sign * own[phrase])[:KEPT])
    return (found, ()) if sign > 0 else ((), found)


def _phrases(review: Review) -> list[str]:
    """What a review is made of, but no phrase that states a rating."""
    return [phrase for phrase in phrases.phrases(review.title, review.text) if not ratings.states_rating(phrase)]


class Summarizer:
    """Asks the summarizer expert of an engine. Safe to call from several threads."""

    def __init__(self, engine: Engine, embedder: Embedder) -> None:
        self._engine = engine
        self._embedder = embedder
        self._lean: dict[str, float] = {}
        shared = (constants(ratings), constants(sys.modules[__name__]), embedder.name)
        self._recipes = {
            False: recipe(prompt_file("phrase_tone").model_dump(mode="json"), constants(phrases), *shared),
            True: recipe(
                prompt_file("summary").model_dump(mode="json"),
                prompt_file("phrase_tone").model_dump(mode="json"),
                *map(constants, (aspects, support, phrases)),
                *shared,
            ),
        }

    @property
    def version(self) -> str:
        """The adapter version that summarizes now."""
        return self._engine.adapter_version(Expert.SUMMARIZER)

    @property
    def mark(self) -> str:
        """What a summary or a profile made now is marked with; one with another mark is stale."""
        return f"{self.version}+{self._recipes[self.taught]}"

    @property
    def taught(self) -> bool:
        """Whether an adapter answers, which was trained to write the lists; the base model judges phrases."""
        return Expert.SUMMARIZER.taught(self.version)

    def summarize(self, reviews: Sequence[Review], scale: RatingScale) -> list[ReviewSummary]:
        """A summary of each review, in order. Raises `EngineError`."""
        return self._written(reviews, scale) if self.taught else self._judged(reviews, scale)

    def _written(self, reviews: Sequence[Review], scale: RatingScale) -> list[ReviewSummary]:
        answers = self._engine.write([aspects.request(review, scale) for review in reviews])
        return self.checked(reviews, [aspects.read(answer.text) for answer in answers], scale, self.mark)

    def checked(
        self, reviews: Sequence[Review], lists: Sequence[aspects.Lists], scale: RatingScale, by: str
    ) -> list[ReviewSummary]:
        """Summaries of what was written of reviews in other words than theirs: what they do not say is left out.

        Args:
            reviews: What was read.
            lists: What was written of each.
            scale: Of the ratings.
            by: Who wrote, as `mark`.

        Raises:
            EngineError: The model failed.
        """
        read = [support.sound(told, said(review), self._embedder) for review, told in zip(reviews, lists, strict=True)]
        cut = [_phrases(review) for review in reviews]
        pulls = [_pull(review, scale) for review in reviews]
        quotes = [
            support.quotes((*told.likes, *told.dislikes), found, self._embedder)
            for told, found in zip(read, cut, strict=True)
        ]
        tones = iter(self.tones([quote for found in quotes for quote in found if quote]))
        sides = [
            _listed(told, [_toned(quote, next(tones), pull) if quote else None for quote in found])
            for told, found, pull in zip(read, quotes, pulls, strict=True)
        ]
        # A hostile review of which nothing at all is listed speaks obliquely: its clearest phrases may be mockery.
        silent = [
            number
            for number, (told, pull, (praise, blame)) in enumerate(zip(read, pulls, sides, strict=True))
            if (told.likes or told.dislikes or pull > 0) and not praise and not blame
        ]
        tones = iter(self.tones([phrase for number in silent for phrase in cut[number]]))
        for number in silent:
            sides[number] = _standing_in({phrase: next(tones) for phrase in cut[number]}, pulls[number])
        return [
            ReviewSummary(
                review_id=review.review_id,
                adapter_version=by,
                praise=praise,
                blame=blame,
                **told._asdict(),
            )
            for review, told, (praise, blame) in zip(reviews, read, sides, strict=True)
        ]

    def _judged(self, reviews: Sequence[Review], scale: RatingScale) -> list[ReviewSummary]:
        cut = [_phrases(review) for review in reviews]
        tones = iter(self.tones([phrase for found in cut for phrase in found]))
        summaries = []
        for review, found in zip(reviews, cut, strict=True):
            pull = _pull(review, scale)
            summaries.append(self._summary(review, [_toned(phrase, next(tones), pull) for phrase in found]))
        return summaries

    def profile(
        self, side: Side, subject_id: str, reviews: Sequence[Review], summaries: Sequence[ReviewSummary], rated: Rated
    ) -> Profile:
        """The profile that the summaries add up to: for each theme its most typical phrase, commonest themes first.

        Of what a taught Summarizer listed only what the reviewer's own phrases bear out counts, on the side that they
        are on.

        Args:
            side: Whose profile.
            subject_id: The user or the item.
            reviews: What was summarized; the newest of them dates the profile.
            summaries: Their summaries.
            rated: All ratings of the subject known at that time.
        """
        borne_out = [self._borne_out(summary) for summary in summaries]
        return Profile(
            side=side,
            subject_id=subject_id,
            likes=self._themes([phrase for likes, _ in borne_out for phrase in likes]),
            dislikes=self._themes([phrase for _, dislikes in borne_out for phrase in dislikes]),
            adapter_version=self.mark,
            source=self.source(summaries, rated),
            average=rated.average,
            as_of=max((review.timestamp for review in reviews), default=None),
        )

    def source(self, summaries: Sequence[ReviewSummary], rated: Rated) -> str:
        """The hash of what a profile is made from: the same source makes the same profile."""
        return recipe([summary.model_dump(mode="json") for summary in summaries], rated.model_dump())

    def _borne_out(self, summary: ReviewSummary) -> tuple[Aspects, Aspects]:
        """The likes and dislikes that quoted phrases of the review say, an aspect that both sides say where it was."""
        if summary.praise is None or summary.blame is None:
            return summary.likes, summary.dislikes
        both = (*summary.likes, *summary.dislikes)
        praised, blamed = (
            support.Source("\n".join(said), self._embedder).supports(both) if said else [False] * len(both)
            for said in (summary.praise, summary.blame)
        )
        listed = [number < len(summary.likes) for number in range(len(both))]
        rows = list(zip(both, praised, blamed, listed, strict=True))
        likes = tuple(aspect for aspect, good, bad, liked in rows if good and (liked or not bad))
        dislikes = tuple(aspect for aspect, good, bad, liked in rows if bad and not (liked and good))
        return likes, dislikes

    def _summary(self, review: Review, toned: Sequence[Toned]) -> ReviewSummary:
        clear = sorted((each for each in toned if each.clear), key=lambda each: -abs(each.tone))
        likes = [each.phrase for each in clear if each.tone > 0][:KEPT]
        dislikes = [each.phrase for each in clear if each.tone < 0][:KEPT]
        return ReviewSummary(
            review_id=review.review_id,
            likes=tuple(likes),
            dislikes=tuple(dislikes),
            preferences=self._concerns([*likes, *dislikes]),
            adapter_version=self.mark,
        )

    def _concerns(self, kept: Sequence[str]) -> tuple[str, ...]:
        """What the phrases are about, the clearest first."""
        if not kept:
            return ()
        close = cosines(self._embedder.embed(CONCERNS), self._embedder.embed(kept)).max(axis=1)
        clearest = np.argsort(-close, kind="stable")[:PREFERENCES]
        return tuple(CONCERNS[int(number)] for number in clearest if close[number] >= ABOUT)

    def tones(self, texts: Sequence[str]) -> list[float]:
        """How each text sounds to the model: log-odds of praise against blame, above 0 praise. Raises `EngineError`."""
        lean = self._neutral_lean() if texts else 0.0
        return [odds - lean for odds in self._log_odds(texts)]

    def _neutral_lean(self) -> float:
        """What the model answers to phrases that say nothing: its own leaning, which is taken off every answer.

        Contextual calibration (Zhao et al. 2021, "Calibrate Before Use", section 4).
        """
        if self.version not in self._lean:
            self._lean[self.version] = float(np.mean(self._log_odds(prompt_file("phrase_tone").neutral)))
        return self._lean[self.version]

    def _log_odds(self, texts: Sequence[str]) -> list[float]:
        labels = prompt_file("phrase_tone").labels
        asked = [
            Weighing(expert=Expert.SUMMARIZER, prompt=render("phrase_tone", phrase=text), labels=labels)
            for text in texts
        ]
        answers = self._engine.weigh(asked) if asked else []
        return [math.log(max(answer.probabilities[0], 1e-9) / max(answer.probabilities[1], 1e-9)) for answer in answers]

    def _themes(self, found: Sequence[str]) -> tuple[str, ...]:
        """The most typical phrase of each theme, the theme with most phrases first."""
        if not found:
            return ()
        vectors = self._embedder.embed(found)
        close = cosines(vectors, vectors)
        left = np.ones(len(found), dtype=bool)
        themes: list[str] = []
        while left.any() and len(themes) < POINTS:
            support = (np.where(close >= SAME, close, 0.0) * left[None, :]).sum(axis=1)
            support[~left] = -np.inf
            centre = int(support.argmax())
            themes.append(found[centre])
            left &= close[centre] < SAME
        return tuple(themes)
