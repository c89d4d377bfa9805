"""How good reasons are: what they rest on, what they give away, and whether the rating follows them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import fmean

from pydantic import Field

from whylike.adapters.engines.base import Adapter
from whylike.agents.grounding import repeats
from whylike.agents.ratings import leaks, states_rating
from whylike.evaluation.machine import EngineSettings, Machine, engine_settings, machine
from whylike.evaluation.reasoning import Rated, Readouts, Reasoned, key, rate, reason_of
from whylike.evaluation.resampling import (
    Estimate,
    Rows,
    chance_of_more,
    estimate,
    permuted,
    strangers,
)
from whylike.graph import sides
from whylike.graph.services import Services
from whylike.memory.embeddings import Embedder
from whylike.preparing import Told
from whylike.records import Expert, Record, Review

AT_ONCE = 32
"""Reviews that are summarized in one call."""
_WORD = re.compile(r"\w+")


class Likeness(Record):
    """How close in meaning reasons are to what the users wrote, as cosines; at most the first 256 word pieces count."""

    own: float = Field(description="To the user's review of the item")
    other: float = Field(description="To a review by another user of another item")
    difference: Estimate = Field(description="The first less the second; the interval is of drawing the users")


class Polarity(Record):
    """Whether reasons speak for what was rated high."""

    correlation: float = Field(description="Spearman's, of how a reason sounds to the base model and the rating")
    p: float = Field(description="One-sided, by permuting the ratings")
    tone: float = Field(description="How reasons sound on the mean: log-odds of praise against blame")


class Swap(Record):
    """What happens to a read-out when another pair's reason is put in the place of the pair's own, all else equal."""

    moved: float = Field(description="Mean absolute change, in units of the rating scale")
    reordered: float | None = Field(
        description="The same when the sentences of the own reason change places; None where none has several"
    )
    moved_p: float = Field(description="One-sided: the first is no larger than the second; pairs of several sentences")
    follows: float = Field(description="Spearman's correlation of the change and the difference in how the two sound")
    follows_p: float = Field(description="One-sided, by permuting the differences: it goes no higher with the better")
    nearer: float = Field(description="How much nearer to the rating that was given the own reason leads, on the mean")
    nearer_p: float = Field(description="One-sided: it leads no nearer")


class ReasonWay(Record):
    """One way to write reasons."""

    adapter: str = Field(description="The version that wrote")
    without: int = Field(description="Pairs that got no reason; all other figures leave them out")
    sentences: int
    words: float = Field(description="Of a reason, on the mean")
    supported: float | None = Field(description="Share of the sentences that rest on a review or a profile")
    served: float | None = Field(
        description="Share of the sentences as written that are served; a taught Reasoner's without support are not"
    )
    personal: float | None = Field(
        description="Share of the reasons for users who had written reviews that rest on one of these; the others say "
        "what other people say"
    )
    stating: float | None = Field(description="Share of the reasons that state a rating")
    stating_when_written: float | None = Field(description="The same before such sentences are taken out")
    leaking: float | None = Field(
        description="Share of the reasons that the leak check for training would not keep: any number may be a rating"
    )
    copied: float | None = Field(
        description="Share of the reasons with eight words of a review in a row that are not marked as quoted"
    )
    likeness: Likeness | None = Field(description="None for fewer than two reasons of strangers")
    polarity: Polarity | None
    repeated: float | None = Field(
        description="Share of the sentences that say what one before them in the reason says"
    )
    distinct_within: float | None = Field(description="Share of a reason's pairs of words that differ, on the mean")
    distinct_across: float | None = Field(description="Share of all reasons' pairs of words that differ")
    same: float | None = Field(description="Share of the reasons that another pair got too, to the letter")
    swap: dict[str, Swap] = Field(description="By read-out; none for fewer than two reasons of strangers")
    seconds_per_pair: float = Field(
        description="To explain it once its reviews are summarized; what the store had kept was not worked out again"
    )


class ReasonsEvaluation(Record):
    """The document that `whylike evaluate reasons --json` prints."""

    machine: Machine
    settings: EngineSettings
    seed: int
    pairs: int = Field(description="Reviews among the newest tenth, each foretold as of just before it was written")
    ways: dict[str, ReasonWay] = Field(description="`adapter`, and `base`: the base model in the Reasoner's place")


def evaluate_reasons(
    services: Services,
    reviews: Sequence[Review],
    ways: Mapping[str, Mapping[Expert, Adapter]],
    seed: int,
    told: Told = lambda *_: None,
) -> ReasonsEvaluation:
    """Explain the pairs of some reviews in every way, and measure the reasons. What is worked out stays in the store.

    Args:
        services: The store, and an engine of the caller's; at the end it has no adapters.
        reviews: From `reasoning.newest`; at least one.
        ways: By name the adapters that answer, at least one.
        seed: Seed of what is drawn at random.
        told: Told of progress: the step, how many pairs are done, and how many there are.

    Raises:
        StoreError: The store failed.
        EngineError: The model failed, or an adapter does not load.
    """
    ran_on, ran_with = machine(), None
    written: dict[str, tuple[str, list[Reasoned], dict[int, Rated], float]] = {}
    for name, adapters in ways.items():
        services.engine.adopt(adapters)
        ran_with = ran_with or engine_settings(services.settings, services.engine)
        _summarize(services, reviews, told)
        began = time.perf_counter()
        reasoned: list[Reasoned] = []
        for review in reviews:
            reasoned.append(reason_of(services, review))
            told(f"explaining pairs, {name}", len(reasoned), len(reviews))
        seconds = time.perf_counter() - began
        rated = rate(services, reasoned, seed, partial(told, f"swapping reasons, {name}"))
        written[name] = services.reasoner.version, reasoned, rated, seconds / len(reviews)
    # The same judge for all: the base model.
    services.engine.adopt({})
    measured = {}
    for done, (name, (version, reasoned, rated, seconds)) in enumerate(written.items(), start=1):
        tones = _tones(services, reasoned)
        measured[name] = measure(reasoned, rated, tones, services.embedder, adapter=version, seconds=seconds, seed=seed)
        told("listening to the tone", done, len(written))
    assert ran_with
    return ReasonsEvaluation(machine=ran_on, settings=ran_with, seed=seed, pairs=len(reviews), ways=measured)


def _summarize(services: Services, reviews: Sequence[Review], told: Told) -> None:
    """Have what explaining the pairs of some reviews reads summarized, so that no way is timed with it."""
    read: dict[str, Review] = {}
    for review in reviews:
        known = sides.recalled(services, review.user_id, review.item_id, review.timestamp)
        read |= {each.review_id: each for each in (*known.user_reviews, *known.item_reviews)}
    kept = services.store.summaries(list(read), services.summarizer.mark)
    missing = [review for review_id, review in read.items() if review_id not in kept]
    for begin in range(0, len(missing), AT_ONCE):
        told("summarizing reviews", begin, len(missing))
        sides.summarize(services, missing[begin : begin + AT_ONCE])


def measure(
    reasoned: Sequence[Reasoned],
    rated: Mapping[int, Rated],
    tones: Mapping[int, float],
    embedder: Embedder,
    *,
    adapter: str,
    seconds: float,
    seed: int,
) -> ReasonWay:
    """The figures of one way.

    Args:
        reasoned: The pairs.
        rated: By number of a pair what the Predictor makes of it.
        tones: By number of each pair that has a reason how that sounds, above 0 praise.
        embedder: Tells what is close in meaning.
        adapter: What wrote the reasons.
        seconds: To explain a pair.
        seed: Of what is drawn at random.
    """
    having = [number for number, each in enumerate(reasoned) if each.reason]
    heard = [(tones[number], reasoned[number].review.rating) for number in having]
    reasons = [each.reason for each in reasoned if each.reason]
    texts = [reason.text for reason in reasons]
    sentences = [sentence for reason in reasons for sentence in reason.sentences]
    words = [_words(text) for text in texts]
    doubles = [list(pairwise(each)) for each in words]
    return ReasonWay(
        adapter=adapter,
        without=len(reasoned) - len(having),
        sentences=len(sentences),
        words=round(fmean(map(len, words)), 1) if words else 0.0,
        supported=_share([sentence.supported for sentence in sentences]),
        personal=_share([_personal(reasoned[number]) for number in having if reasoned[number].own]),
        stating=_share([_states(reasoned[number], _served(reasoned[number])) for number in having]),
        served=_share([one in _served(each) for each in reasoned for one in each.written]),
        stating_when_written=_share([_states(each, each.written) for each in reasoned if each.written]),
        leaking=_share([_leaks(reasoned[number]) for number in having]),
        copied=_share([_copies(reasoned[number]) for number in having]),
        likeness=_likeness([reasoned[number] for number in having], embedder, seed),
        polarity=_polarity(heard, seed),
        repeated=_share([again for each in reasoned if each.reason for again in _again(_served(each))]),
        distinct_within=_mean([share for each in doubles if (share := _different(each)) is not None]),
        distinct_across=_different([pair for each in doubles for pair in each]),
        same=_share([texts.count(text) > 1 for text in texts]),
        swap=_swaps(reasoned, rated, tones, seed),
        seconds_per_pair=round(seconds, 3),
    )


def _tones(services: Services, reasoned: Sequence[Reasoned]) -> dict[int, float]:
    """How each reason sounds: the mean of its sentences, judged as the untaught Summarizer judges phrases."""
    numbers = [number for number, each in enumerate(reasoned) for _ in _served(each)]
    heard = services.summarizer.tones([sentence for each in reasoned for sentence in _served(each)])
    tones: dict[int, list[float]] = {}
    for number, tone in zip(numbers, heard, strict=True):
        tones.setdefault(number, []).append(tone)
    return {number: fmean(each) for number, each in tones.items()}


def _served(each: Reasoned) -> list[str]:
    return [sentence.text for sentence in each.reason.sentences] if each.reason else []


def _personal(each: Reasoned) -> bool:
    """Whether a sentence rests on something that the user wrote."""
    return bool(each.reason and any(each.own.intersection(one.evidence) for one in each.reason.sentences))


def _states(each: Reasoned, sentences: Sequence[str]) -> bool:
    """Whether some sentences state a rating; an item may be called `Five Stars`."""
    text = "\n".join(sentences)
    for title in each.titles:
        text = text.replace(title, "“”")
    return any(map(states_rating, text.split("\n")))


def _leaks(each: Reasoned) -> bool:
    """Whether a reason, however innocently, has what might be a rating (`agents.ratings.leaks`)."""
    return leaks("\n".join(_served(each)), each.readout.scale, each.titles)


def _copies(each: Reasoned) -> bool:
    return any(repeats(sentence, review) for sentence in _served(each) for review in each.evidence)


def _again(sentences: Sequence[str]) -> list[bool]:
    """Of each sentence whether one before it has the same words."""
    words = [_words(sentence) for sentence in sentences]
    return [each in words[:place] for place, each in enumerate(words)]


def _likeness(reasoned: Sequence[Reasoned], embedder: Embedder, seed: int) -> Likeness | None:
    partners = strangers([key(each.review) for each in reasoned], seed)
    if not partners:
        return None
    ours = embedder.embed([" ".join(_served(each)) for each in reasoned])
    theirs = embedder.embed([f"{each.review.title}. {each.review.text}" for each in reasoned])
    own = [float(ours[row] @ theirs[row]) for row in partners]
    other = [float(ours[row] @ theirs[partner]) for row, partner in partners.items()]

    def difference(rows: Rows) -> float:
        return fmean(own[row] - other[row] for row in rows)

    users = [reasoned[row].review.user_id for row in partners]
    return Likeness(
        own=round(fmean(own), 4),
        other=round(fmean(other), 4),
        difference=estimate(len(own), difference, seed, groups=users),
    )


def _polarity(heard: Sequence[tuple[float, float]], seed: int) -> Polarity | None:
    if not heard:
        return None
    tones, ratings = zip(*heard, strict=True)
    correlation, p = permuted(tones, ratings, seed)
    return Polarity(correlation=round(correlation, 4), p=round(p, 5), tone=round(fmean(tones), 4))


def _swaps(
    reasoned: Sequence[Reasoned], rated: Mapping[int, Rated], tones: Mapping[int, float], seed: int
) -> dict[str, Swap]:
    return {name: _swap(reasoned, rated, tones, place, seed) for place, name in enumerate(Readouts._fields) if rated}


def _swap(
    reasoned: Sequence[Reasoned], rated: Mapping[int, Rated], tones: Mapping[int, float], place: int, seed: int
) -> Swap:
    """What becomes of the read-out at a place of `Readouts`."""
    changes, louder, nearer, moved, reordered = [], [], [], [], []
    for number, each in rated.items():
        own, other, given = each.own[place], each.other[place], reasoned[number].review.rating
        changes.append(own - other)
        louder.append(tones[number] - tones[each.partner])
        nearer.append(abs(other - given) - abs(own - given))
        if each.reordered:
            moved.append(abs(own - other))
            reordered.append(abs(own - each.reordered[place]))
    more = [one - another for one, another in zip(moved, reordered, strict=True)]
    follows, follows_p = permuted(changes, louder, seed)
    return Swap(
        moved=round(fmean(map(abs, changes)), 4),
        reordered=_mean(reordered),
        moved_p=round(chance_of_more(more, seed), 5),
        follows=round(follows, 4),
        follows_p=round(follows_p, 5),
        nearer=round(fmean(nearer), 4),
        nearer_p=round(chance_of_more(nearer, seed), 5),
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _different(pairs: Sequence[tuple[str, str]]) -> float | None:
    return round(len(set(pairs)) / len(pairs), 4) if pairs else None


def _share(found: Sequence[bool]) -> float | None:
    return _mean([float(each) for each in found])


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 4) if values else None
