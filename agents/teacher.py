"""The teacher: a stronger model behind an OpenAI-compatible endpoint, which summarizes reviews and writes reasons.

Reasons are candidates of which the reward expert keeps some, so the student itself may write them too. Method:
reward-filtered reasons. A candidate is sampled at temperature 1, first without a hint, then with the true rating as
one: a teacher is told it in words, the student gets it as the way that its reason has to go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from whylike.adapters.engines.base import Engine, Prompt
from whylike.agents import plans
from whylike.agents.aspects import NONE, Lists
from whylike.agents.budget import Budget
from whylike.agents.endpoint import Endpoint, NotAnsweredError
from whylike.agents.matching import Point
from whylike.agents.plans import Stance
from whylike.agents.prompting import one_line, prompt_file, render
from whylike.agents.reasoner import Reasoner
from whylike.agents.recipe import recipe
from whylike.agents.support import standing
from whylike.explanation import AspectLists
from whylike.memory.importers.teacher import HEADS, aspects
from whylike.memory.spending import Purpose, Spent
from whylike.records import Aspects, Item, RatingScale, ReasonAnnotation, Review, ReviewSummary

OPENAI = "openai:"
"""What the name of a teacher behind an endpoint begins with."""
ATTEMPTS = 5
"""How often a teacher is asked who cannot be reached, is busy or fails."""
PAUSE = 0.5
"""Seconds that the first pause takes at most; each further one may take twice as long, and is drawn at random."""
LONGEST_PAUSE = 60.0
"""Seconds that no pause exceeds, whatever the server asks for."""
TIMEOUT = 300.0
"""Seconds that an answer may take; a small computer's teacher writes some 15 tokens a second."""
TOLD = 60
"""Words of an item's description."""
REASON, SUMMARY = "teacher_reason", "teacher_summary"
"""The prompt files."""
READ = 600
"""Words of a review that a teacher summarizes: most that fits small teachers' contexts."""
REVIEWS = 5
"""Newest reviews of either side that a teacher reads."""
_BULLET = re.compile(rf"\s*\n\s*(?:[-•*]|\d+[.)])\s++(?!{'|'.join(HEADS)})")
"""Where a list goes on in a line of its own."""
_MARKS = re.compile(r"^(?:[\s#•*-]|\d+[.)])+", re.MULTILINE)
LIKED, DISLIKED = 0.75, 0.25
"""Places on the scale from which on up a hint says that the user liked the item, and from which on down not."""


class Given(NamedTuple):
    """What a teacher is given to read of a pair."""

    item: Item | None
    user: Sequence[tuple[str, ReviewSummary]]
    """The user's reviews, newest first, with what their items are called."""
    others: Sequence[ReviewSummary]
    """Of the item, newest first."""
    profiles: tuple[AspectLists, AspectLists]
    """Of the user and of the item."""

    @property
    def title(self) -> str:
        """What the item is called, if anything."""
        return self.item.title if self.item else ""

    def annotation(self, text: str) -> ReasonAnnotation:
        """A reason that was written from this."""

        def all_of(summaries: Iterable[ReviewSummary], name: str) -> tuple[str, ...]:
            return tuple(aspect for summary in summaries for aspect in getattr(summary, name))

        user = [summary for _, summary in self.user]
        return ReasonAnnotation(
            title=self.title,
            user_likes=all_of(user, "likes"),
            user_dislikes=all_of(user, "dislikes"),
            user_preferences=all_of(user, "preferences"),
            item_likes=all_of(self.others, "likes"),
            item_dislikes=all_of(self.others, "dislikes"),
            text=text,
        )


class Case(NamedTuple):
    """A pair for which a reason is sought: all of it was known before the user's review."""

    given: Given
    points: Sequence[Point]
    """Where the two meet; for a student that is held by a grammar in the reviewers' own words."""
    stance: Stance
    """The way that a reason of these points goes, given the averages."""
    names: Mapping[str, str]
    """For each review by the user what a reason calls its item."""
    rating: float
    """The true one, for hints only."""
    scale: RatingScale


class Sampler(Protocol):
    """Writes candidates. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """Who writes, for the record."""
        ...

    @property
    def mark(self) -> str:
        """The same and by what recipe: what was decided of another recipe's candidates is stale."""
        ...

    def sample(self, case: Case, *, hint: bool, number: int) -> str:
        """A candidate; the `number` of it makes it another one. Empty where none came out whole.

        Raises `EngineError`.
        """
        ...


class Student:
    """The Reasoner as its own sampler: the self-training mode."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reasoner = Reasoner(engine)

    @property
    def name(self) -> str:
        """`student:` and the version of the Reasoner."""
        return f"student:{self._reasoner.version}"

    @property
    def mark(self) -> str:
        """`student:` and the mark of the Reasoner."""
        return f"student:{self._reasoner.mark}"

    def sample(self, case: Case, *, hint: bool, number: int) -> str:
        """As `Sampler.sample`; the hint is the stance of the plan, or what the grammar lets the reason begin with.

        As where the reason is served, either way is open where no point goes the way that it hints at, and where there
        is nothing to tell nothing is written.
        """
        way = _way(case) if hint else case.stance
        points, way = plans.led(case.points, way)
        if self._reasoner.taught:
            plan = plans.drawn(case.given.title, points, way, *case.given.profiles)
            if not plan.both:
                return ""
            asked = plans.request(plan)
        elif not points:
            return ""
        else:
            asked = self._reasoner.request(points, way, case.names, newcomer=not case.given.user)
        [written] = self._engine.write([asked.model_copy(update={"temperature": 1.0, "seed": number})])
        return written.text.strip() if written.finish == "stop" else ""


class Teacher:
    """A model behind an OpenAI-compatible chat endpoint, asked within a budget. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, budget: Budget, *, live: bool = False) -> None:
        """`live`: a user waits, so that nothing is tried again."""
        self._endpoint = endpoint
        self._budget = budget
        self._live = live

    @property
    def name(self) -> str:
        """`openai:` and the model."""
        return f"{OPENAI}{self._endpoint.model}"

    @property
    def mark(self) -> str:
        """The name and a hash of what the model is asked for a reason by."""
        return f"{self.name}+{recipe(prompt_file(REASON).model_dump(mode='json'), TOLD, REVIEWS, LIKED, DISLIKED)}"

    @property
    def summary_mark(self) -> str:
        """The name and a hash of what it is asked for a summary by."""
        return f"{self.name}+{recipe(prompt_file(SUMMARY).model_dump(mode='json'), READ)}"

    def sample(self, case: Case, *, hint: bool, number: int) -> str:
        """As `Sampler.sample`; at temperature 1 all candidates differ.

        Raises `EngineError`, and `BudgetError` where nothing more may be asked today.
        """
        rated = f"{case.rating:g} of {case.scale.maximum:g}"
        told = f"Hint: the user gave it {rated}. Explain that, and mention neither the hint nor any number."
        return self._reason(asked(case.given, told if hint else ""), 1.0, TIMEOUT)

    def reason(self, prompt: Prompt, seconds: float = TIMEOUT) -> str:
        """The likeliest reason, of `asked`; as `sample` otherwise."""
        return self._reason(prompt, 0.0, seconds)

    def summarize(
        self, review: Review, scale: RatingScale, *, number: int = 0, seconds: float = TIMEOUT
    ) -> Lists | None:
        """What a review says; None where the answer is not of the form. The first asking is greedy, others are drawn.

        Raises `EngineError`, and `BudgetError` where nothing more may be asked today.
        """
        prompt = render(
            SUMMARY,
            rating=f"{review.rating:g}",
            best=f"{scale.maximum:g}",
            text=one_line(f"{review.title}. {review.text}" if review.title else review.text, READ),
        )
        purpose = Purpose.LIVE_SUMMARY if self._live else Purpose.SUMMARIES
        text = _lines(self._answer(prompt, purpose, float(number > 0), seconds) or "")
        if not all(re.search(rf"^{head}\s*:", text, re.MULTILINE) for head in HEADS):
            return None
        return Lists(**{name: _own(told, f"{review.title} {review.text}") for name, told in aspects(text).items()})

    def _reason(self, prompt: Prompt, temperature: float, seconds: float) -> str:
        purpose = Purpose.LIVE_REASON if self._live else Purpose.REASONS
        text = self._answer(prompt, purpose, temperature, seconds)
        return " ".join(text.split()).strip("\"'“” ") if text else ""

    def _answer(self, prompt: Prompt, purpose: Purpose, temperature: float, seconds: float) -> str | None:
        """What the teacher says, None where it was cut off; what may be gone another time is tried again."""
        attempts = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, NotAnsweredError) and error.again),
            wait=_pause,
            stop=stop_after_attempt(1 if self._live else ATTEMPTS),
            reraise=True,
        )
        return attempts(self._once, prompt, purpose, temperature, seconds)

    def _once(self, prompt: Prompt, purpose: Purpose, temperature: float, seconds: float) -> str | None:
        """One call, which is booked before it is made."""
        most = self._endpoint.most(prompt)
        number = self._budget.book(self._endpoint.model, purpose, most)
        try:
            answer = self._endpoint.ask(prompt, temperature=temperature, seconds=seconds)
        except NotAnsweredError as error:
            self._budget.settle(number, "failed", most if error.took else Spent(calls=1))
            raise
        self._budget.settle(number, "answered", answer.took)
        return answer.text


def asked(given: Given, hint: str = "") -> Prompt:
    """What a teacher is asked for a reason."""
    user, item = given.profiles
    return render(
        REASON,
        title=given.title or plans.NAMELESS,
        about=one_line(". ".join([*given.item.categories, given.item.description]), TOLD) or NONE
        if given.item
        else NONE,
        enjoys=_listed(user.likes),
        minds=_listed(user.dislikes),
        history=_told(f"{name}: {_lists(summary)}" for name, summary in given.user[:REVIEWS]),
        praised=_listed(item.likes),
        faulted=_listed(item.dislikes),
        reviews=_told(_lists(summary) for summary in given.others[:REVIEWS]),
        hint=hint,
    )


def _pause(state: RetryCallState) -> float:
    """Seconds to wait before the next attempt: as many as the server asks for, if it asks."""
    error = state.outcome.exception() if state.outcome else None
    after = error.after if isinstance(error, NotAnsweredError) else 0.0
    return min(LONGEST_PAUSE, max(after, wait_random_exponential(multiplier=PAUSE, max=LONGEST_PAUSE)(state)))


def _own(told: Sequence[str], text: str) -> Aspects:
    """Aspects of a review but for those of the prompt's examples, which small teachers repeat of any review."""
    examples = [aspects(example.assistant).values() for example in prompt_file(SUMMARY).examples]
    shown = {aspect.lower() for lists in examples for listed in lists for aspect in listed}
    stand = standing(told, text)
    return tuple(aspect for aspect, stands in zip(told, stand, strict=True) if stands or aspect.lower() not in shown)


def _way(case: Case) -> Stance:
    """The way that a reason goes which explains the true rating."""
    place = case.scale.place(case.rating)
    return Stance.FOR if place >= LIKED else Stance.AGAINST if place <= DISLIKED else Stance.MIXED


def _lines(text: str) -> str:
    """A teacher's lists, each on the line of its head, without marks that teachers like to add."""
    return _MARKS.sub("", _BULLET.sub(", ", text.replace("**", "")))


def _told(reviews: Iterable[str]) -> str:
    return " | ".join(reviews) or NONE


def _lists(summary: ReviewSummary) -> str:
    return f"liked {_listed(summary.likes)}, disliked {_listed(summary.dislikes)}"


def _listed(aspects: Sequence[str]) -> str:
    return "; ".join(aspects) or NONE
