"""Reward-filtered reasons: for pairs whose rating is known, reasons that bring the reward expert nearer to it.

Method: a candidate is kept if |true - reward(with it)| - |true - reward(without)| < tau. The first is sampled without a
hint, further ones with; each goes through the leak check. Every pair's decision is kept as soon as it is there, also
where nothing was found, so that a run that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from pydantic import Field

from whylike.adapters.training.ratings import training_pairs
from whylike.adapters.training.teach import HELD_OUT
from whylike.agents import dossier
from whylike.agents.budget import Paid
from whylike.agents.prompting import prompt_file
from whylike.agents.ratings import leaks
from whylike.agents.reasoner import quoted
from whylike.agents.recipe import constants, digest
from whylike.agents.teacher import Case, Given, Sampler
from whylike.errors import BudgetError, EngineError, UsageError
from whylike.explanation import AspectLists
from whylike.graph import sides
from whylike.graph.nodes import AT_ONCE
from whylike.graph.services import Services
from whylike.graph.together import at_once
from whylike.memory.history import history
from whylike.memory.splits import Pair
from whylike.records import Expert, History, ReasonDecision, Record, ReviewSummary, Side

IN_A_ROW = 5
"""Pairs in a row, or all, for which the sampler fails, after which the run ends: it is not there, or refuses."""

CANDIDATE = "reason candidate"
"""What candidates are called in the store."""

Told = Callable[[int, int], None]
"""Told how many pairs are decided, and how many there are."""


class Filtered(Record):
    """The document that `whylike annotate reasons --json` prints: of all chosen pairs, whenever they were decided."""

    sampler: str
    reward: str
    tau: float
    tries: int
    pairs: int
    decided_now: int
    kept: int = Field(description="Pairs whose first candidate was kept")
    hinted: int = Field(description="Pairs of which a candidate with a hint was kept")
    dropped: int
    failed: int = Field(description="Pairs for which the sampler failed; another run tries them again")
    candidates: int
    leaked: int = Field(description="Candidates that may give the rating away; none of them is kept")
    left: int = Field(description="Pairs that are not decided yet")
    stopped: str = Field(description="Why the run ended before all were decided; empty where it did not")
    paid: Paid | None = Field(default=None, description="What this run took and cost; null where no teacher was asked")


class _Known(NamedTuple):
    """What is known of a pair."""

    history: History
    user: list[ReviewSummary]
    item: list[ReviewSummary]


def filter_reasons(
    services: Services,
    sampler: Sampler,
    pairs: Sequence[Pair],
    *,
    tau: float = 0.1,
    tries: int = 10,
    workers: int = AT_ONCE,
    told: Told = lambda *_: None,
) -> Filtered:
    """Find reasons for pairs whose rating is known, for the Reasoner to learn from.

    Args:
        services: The store, and the experts: the reward expert must have been taught.
        sampler: Who writes candidates.
        pairs: With reviews on both sides (`with_reviews`).
        tau: How much farther from the true rating a reason may lead, in units of the scale.
        tries: Most candidates with a hint.
        workers: Pairs that are worked on at once.
        told: Told of progress.

    Raises:
        UsageError: No adapter is live for the reward expert.
        EngineError: The sampler failed several times in a row, or the model did.
    """
    with services.query():
        reward = services.engine.adapter_version(Expert.REWARD)
        if not Expert.REWARD.taught(reward):
            raise UsageError(
                "no adapter is live for the reward expert, which judges the reasons; run `whylike train reward` and "
                "promote what it makes"
            )
        asked = [
            sampler.mark,
            reward,
            services.summarizer.mark,
            prompt_file(dossier.PROMPT).model_dump(mode="json"),
            constants(dossier),
            services.settings.history,
            services.settings.item_profile,
            tau,
            tries,
        ]
        keys = {digest(["reason decision", pair.review_id, *asked]): pair for pair in pairs}
        decided = {
            key: each for key, each in services.store.decisions().items() if key in keys and each.outcome != "failed"
        }
        for key, each in decided.items():
            services.store.decide(key, each)  # again: the latest decision of a pair counts
        missing = [key for key in keys if key not in decided]

        def sample(key: str, case: Case, number: int) -> str:
            """A candidate, which is not paid twice where the run ended before its pair was decided."""
            kept = services.store.answer(asked := digest([CANDIDATE, key, number]))
            if kept is None:
                text = sampler.sample(case, hint=number > 0, number=number)
                kept = services.store.keep_answer(asked, CANDIDATE, text, keys[key].user_id, keys[key].item_id)
            return kept

        now: dict[str, ReasonDecision] = {}

        def decide(key: str) -> ReasonDecision:
            made = _decision(
                services, partial(sample, key), keys[key], by=sampler.name, reward=reward, tau=tau, tries=tries
            )
            services.store.decide(key, made)
            now[key] = made
            return made

        in_a_row, stopped = 0, ""
        if missing:
            told(0, len(missing))
        try:
            with closing(at_once(decide, missing, workers)) as answers:
                for done, made in enumerate(answers, start=1):
                    told(done, len(missing))
                    in_a_row = in_a_row + 1 if made.outcome == "failed" else 0
                    if in_a_row == IN_A_ROW or in_a_row == len(keys):
                        raise EngineError(f"{made.why}; {in_a_row} in a row failed, the pairs decided before are kept")
        except BudgetError as error:
            stopped = str(error)
        decided |= now
    outcomes = [each.outcome for each in decided.values()]
    return Filtered(
        sampler=sampler.name,
        reward=reward,
        tau=tau,
        tries=tries,
        pairs=len(pairs),
        decided_now=len(now),
        kept=outcomes.count("kept"),
        hinted=outcomes.count("hinted"),
        dropped=outcomes.count("dropped"),
        failed=outcomes.count("failed"),
        candidates=sum(each.candidates for each in decided.values()),
        leaked=sum(each.leaked for each in decided.values()),
        left=len(pairs) - len(decided),
        stopped=stopped,
    )


def chosen_pairs(services: Services, limit: int, seed: int) -> list[Pair]:
    """Pairs of the training part with reviews on both sides, by chance; a larger limit adds to those of a smaller one.

    Raises `UsageError` where there are too few reviews to be split.
    """
    return with_reviews(services, training_pairs(services.store, HELD_OUT, None, seed), limit)


def with_reviews(services: Services, pairs: Iterable[Pair], limit: int | None = None) -> list[Pair]:
    """The first pairs of which both the user and the item had reviews before."""
    having = (
        pair
        for pair in pairs
        if (known := history(services.store, pair.user_id, pair.item_id, pair.timestamp, 1)).user_reviews
        and known.item_reviews
    )
    return list(islice(having, limit))


def _decision(
    services: Services,
    sample: Callable[[Case, int], str],
    pair: Pair,
    *,
    by: str,
    reward: str,
    tau: float,
    tries: int,
) -> ReasonDecision:
    """What becomes of one pair, of which `sample` gives candidates by number."""
    known = _known(services, pair)
    case = _case(services, pair, known)
    names = {quoted(case.given.title), *case.names.values()}
    without = rewarded(services, known.history, None)
    gaps: list[float] = []
    kept, why = "", ""
    candidates = leaked = 0
    outcome = "dropped"
    for number in range(1 + tries):
        try:
            text = sample(case, number)
        except EngineError as error:
            outcome, why = "failed", str(error)
            break
        candidates += 1
        if leaks(text, case.scale, names):
            leaked += 1
            continue
        if not text:
            continue
        with_it = rewarded(services, known.history, text)
        gaps.append(round(abs(pair.rating - with_it) - abs(pair.rating - without), 6))
        if gaps[-1] < tau:
            outcome, kept = "hinted" if number else "kept", text
            break
    return ReasonDecision.model_validate(
        {
            "review_id": pair.review_id,
            "user_id": pair.user_id,
            "item_id": pair.item_id,
            "outcome": outcome,
            "read": sides.read_of(known.history),
            "annotation": case.given.annotation(kept) if kept else None,
            "candidates": candidates,
            "leaked": leaked,
            "gaps": gaps,
            "sampler": by,
            "reward": reward,
            "tau": tau,
            "tries": tries,
            "why": why,
        }
    )


def _known(services: Services, pair: Pair) -> _Known:
    """The pair's history as of just before its review, and the summaries of that."""
    store = services.store
    known = sides.recalled(services, pair.user_id, pair.item_id, pair.timestamp)
    reviews = (*known.user_reviews, *known.item_reviews)
    found = store.summaries([review.review_id for review in reviews], services.summarizer.mark)
    if missing := [review for review in reviews if review.review_id not in found]:
        found |= {summary.review_id: summary for summary in sides.summarize(services, missing)}
    user, item = ([found[review.review_id] for review in side] for side in (known.user_reviews, known.item_reviews))
    return _Known(known, user, item)


def _case(services: Services, pair: Pair, known: _Known) -> Case:
    user_told, item_told = known.user, known.item
    if not services.reasoner.taught:  # the grammar's quotation marks are for reviewers' words alone
        user_told, item_told = ([summary.quoted() for summary in side] for side in (user_told, item_told))
    met = sides.meeting(services, known.history, user_told, item_told)
    profiles = [
        sides.profile_of(services, known.history, side, summaries, keep=False)
        for side, summaries in ((Side.USER, known.user), (Side.ITEM, known.item))
    ]
    user, item = (AspectLists.model_validate(sides.plain(each)) for each in profiles)
    names = sides.names_of(services, known.history)
    return Case(
        given=Given(
            item=met.item,
            user=[(names[summary.review_id], summary) for summary in known.user],
            others=known.item,
            profiles=(user, item),
        ),
        points=met.points,
        stance=met.stance,
        names=names,
        rating=pair.rating,
        scale=services.store.scale,
    )


def rewarded(services: Services, known: History, reason: str | None) -> float:
    """What the reward expert expects the user to give, who is told of the reason, if any."""
    scale = services.store.scale
    asked = dossier.request(Expert.REWARD, dossier.dossier(services.store, known, ""), scale, reason)
    [answer] = services.engine.weigh([asked])
    return float(np.array(answer.probabilities) @ np.array(scale.values))
