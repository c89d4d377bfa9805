"""The teacher: a stronger model behind an OpenAI-compatible endpoint, which summarizes reviews and writes reasons.

Reasons are candidates of which the reward expert keeps some, so the student itself may write them too. Method:
reward-filtered reasons. A candidate is sampled at temperature 1, first without a hint, then with the true rating as
one: a teacher is told it in words, the student gets it as the way that its reason has to go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from whylike.adapters.engines.base import Engine, Prompt
from whylike.agents import plans
from whylike.agents.aspects import NONE, Lists
from whylike.agents.matching import Point
from whylike.agents.plans import Stance
from whylike.agents.prompting import one_line, prompt_file, render
from whylike.agents.reasoner import Reasoner
from whylike.agents.recipe import recipe
from whylike.agents.support import standing
from whylike.errors import EngineError, UsageError
from whylike.explanation import AspectLists
from whylike.memory.importers.teacher import HEADS, aspects
from whylike.records import Aspects, Item, RatingScale, Review, ReviewSummary
from whylike.settings import TEACHER_KEY, Settings

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

ATTEMPTS = 5
"""How often a teacher is asked who cannot be reached, is busy or fails."""
PAUSE = 0.5
"""Seconds that the first pause takes at most; each further one may take twice as long, and is drawn at random."""
LONGEST_PAUSE = 30.0
TIMEOUT = 300.0
"""Seconds that an answer may take; a small computer's teacher writes some 15 tokens a second."""
MAX_TOKENS = 400
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


class Case(NamedTuple):
    """A pair for which a reason is sought: all of it was known before the user's review."""

    item: Item | None
    user: Sequence[tuple[str, ReviewSummary]]
    """The user's reviews, newest first, with what their items are called."""
    others: Sequence[ReviewSummary]
    """Of the item, newest first."""
    profiles: tuple[AspectLists, AspectLists]
    """Of the user and of the item."""
    points: Sequence[Point]
    """Where the two meet; for a student that is held by a grammar in the reviewers' own words."""
    stance: Stance
    """The way that a reason of these points goes, given the averages."""
    names: Mapping[str, str]
    """For each review by the user what a reason calls its item."""
    rating: float
    """The true one, for hints only."""
    scale: RatingScale

    @property
    def title(self) -> str:
        """What the item is called, if anything."""
        return self.item.title if self.item else ""


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
            plan = plans.drawn(case.title, points, way, *case.profiles)
            if not plan.both:
                return ""
            asked = plans.request(plan)
        elif not points:
            return ""
        else:
            asked = self._reasoner.request(points, way, case.names, newcomer=not case.user)
        [written] = self._engine.write([asked.model_copy(update={"temperature": 1.0, "seed": number})])
        return written.text.strip() if written.finish == "stop" else ""


class Teacher:
    """A model behind an OpenAI-compatible chat endpoint."""

    def __init__(self, client: OpenAI, model: str) -> None:
        self._client = client
        self._model = model

    @classmethod
    def open(cls, settings: Settings) -> Teacher:
        """The teacher that the settings name. Raises `UsageError` where they name none, or its key cannot be read."""
        if not settings.teacher_base_url or not settings.teacher_model:
            raise UsageError(
                "no teacher is set; set teacher_base_url (WHYLIKE_TEACHER_BASE_URL) to where an OpenAI-compatible one "
                "answers and teacher_model (WHYLIKE_TEACHER_MODEL) to what it calls its model"
            )
        from openai import OpenAI  # noqa: PLC0415 - a second

        return cls(
            OpenAI(base_url=settings.teacher_base_url, api_key=_key(settings), max_retries=0, timeout=TIMEOUT),
            settings.teacher_model,
        )

    @property
    def name(self) -> str:
        """`openai:` and the model."""
        return f"openai:{self._model}"

    @property
    def mark(self) -> str:
        """The name and a hash of what the model is asked for a reason by."""
        return f"{self.name}+{recipe(prompt_file(REASON).model_dump(mode='json'), TOLD, REVIEWS, LIKED, DISLIKED)}"

    @property
    def summary_mark(self) -> str:
        """The name and a hash of what it is asked for a summary by."""
        return f"{self.name}+{recipe(prompt_file(SUMMARY).model_dump(mode='json'), READ)}"

    def sample(self, case: Case, *, hint: bool, number: int) -> str:
        """As `Sampler.sample`; at temperature 1 all candidates differ."""
        text = self._answer(_reason(case, hint=hint), temperature=1.0)
        return " ".join(text.split()).strip("\"'“” ") if text else ""

    def summarize(self, review: Review, scale: RatingScale, *, number: int = 0) -> Lists | None:
        """What a review says; None where the answer is not of the form. The first asking is greedy, others are drawn.

        Raises `EngineError`.
        """
        prompt = render(
            SUMMARY,
            rating=f"{review.rating:g}",
            best=f"{scale.maximum:g}",
            text=one_line(f"{review.title}. {review.text}" if review.title else review.text, READ),
        )
        text = _lines(self._answer(prompt, temperature=float(number > 0)) or "")
        if not all(re.search(rf"^{head}\s*:", text, re.MULTILINE) for head in HEADS):
            return None
        return Lists(**{name: _own(told, f"{review.title} {review.text}") for name, told in aspects(text).items()})

    def _answer(self, prompt: Prompt, *, temperature: float) -> str | None:
        """What the teacher says, None where it was cut off; what may be gone another time is tried again.

        Raises `EngineError`.
        """
        import openai  # noqa: PLC0415 - a second

        again = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
        attempts = Retrying(
            retry=retry_if_exception_type(again),
            wait=wait_random_exponential(multiplier=PAUSE, max=LONGEST_PAUSE),
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        try:
            answer = attempts(
                self._client.chat.completions.create,
                model=self._model,
                messages=_messages(prompt),
                temperature=temperature,
                max_tokens=MAX_TOKENS,
            )
            choice = answer.choices[0]
            text = choice.message.content or ""
        except openai.OpenAIError as error:
            raise EngineError(
                f"the teacher {self._model} at {self._client.base_url} did not answer ({error}); look whether it runs, "
                f"and at teacher_base_url, teacher_model and the key"
            ) from error
        except (AttributeError, LookupError, TypeError) as error:
            raise EngineError(
                f"what answers at {self._client.base_url} is not like an OpenAI-compatible server; set "
                f"teacher_base_url to one, which often ends with /v1"
            ) from error
        return None if choice.finish_reason == "length" else text


def _own(told: Sequence[str], text: str) -> Aspects:
    """Aspects of a review but for those of the prompt's examples, which small teachers repeat of any review."""
    examples = [aspects(example.assistant).values() for example in prompt_file(SUMMARY).examples]
    shown = {aspect.lower() for lists in examples for listed in lists for aspect in listed}
    stand = standing(told, text)
    return tuple(aspect for aspect, stands in zip(told, stand, strict=True) if stands or aspect.lower() not in shown)


def _key(settings: Settings) -> str:
    """The teacher's key; the client wants one, whether or not the teacher does."""
    if settings.teacher_key_file is None:
        return os.environ.get(TEACHER_KEY, "").strip() or "none"
    try:
        return settings.teacher_key_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"teacher_key_file {settings.teacher_key_file} cannot be read ({error}); give a file with the key, or set "
            f"{TEACHER_KEY}"
        ) from None


def _way(case: Case) -> Stance:
    """The way that a reason goes which explains the true rating."""
    place = case.scale.place(case.rating)
    return Stance.FOR if place >= LIKED else Stance.AGAINST if place <= DISLIKED else Stance.MIXED


def _lines(text: str) -> str:
    """A teacher's lists, each on the line of its head, without marks that teachers like to add."""
    return _MARKS.sub("", _BULLET.sub(", ", text.replace("**", "")))


def _messages(prompt: Prompt) -> list[ChatCompletionMessageParam]:
    """The turns of a prompt as the endpoint takes them."""
    return [
        {"role": "system", "content": turn.content}
        if turn.role == "system"
        else {"role": "assistant", "content": turn.content}
        if turn.role == "assistant"
        else {"role": "user", "content": turn.content}
        for turn in prompt.messages
    ]


def _reason(case: Case, *, hint: bool) -> Prompt:
    """What a teacher is asked for a reason."""
    user, item = case.profiles
    given, best = f"{case.rating:g}", f"{case.scale.maximum:g}"
    return render(
        REASON,
        title=case.title or plans.NAMELESS,
        about=one_line(". ".join([*case.item.categories, case.item.description]), TOLD) or NONE if case.item else NONE,
        enjoys=_listed(user.likes),
        minds=_listed(user.dislikes),
        history=_told(f"{name}: {_lists(summary)}" for name, summary in case.user[:REVIEWS]),
        praised=_listed(item.likes),
        faulted=_listed(item.dislikes),
        reviews=_told(_lists(summary) for summary in case.others[:REVIEWS]),
        hint=f"Hint: the user gave it {given} of {best}. Explain that, and mention neither the hint nor any number."
        if hint
        else "",
    )


def _told(reviews: Iterable[str]) -> str:
    return " | ".join(reviews) or NONE


def _lists(summary: ReviewSummary) -> str:
    return f"liked {_listed(summary.likes)}, disliked {_listed(summary.dislikes)}"


def _listed(aspects: Sequence[str]) -> str:
    return "; ".join(aspects) or NONE
