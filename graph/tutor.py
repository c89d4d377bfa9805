"""Who makes what `whylike learn` learns from, where it is not there yet: a teacher, or the student itself.

A teacher summarizes new reviews and writes reasons; a student samples reasons. Reasons pass the reward expert's filter
either way. Whatever fails, a run goes on with what is there, or waits where that is too little, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial

from whylike.agents.budget import Budget
from whylike.agents.endpoint import Endpoint
from whylike.agents.teacher import Student, Teacher
from whylike.errors import EngineError
from whylike.graph.annotating import annotate_summaries
from whylike.graph.filtering import filter_reasons
from whylike.graph.services import Services
from whylike.memory.splits import Pair
from whylike.preparing import Told
from whylike.records import Expert, Review
from whylike.settings import Settings


class Who(StrEnum):
    """Who writes."""

    OPENAI = "openai"
    """The teacher of the settings."""
    STUDENT = "student"
    NOBODY = "nobody"

    @classmethod
    def of(cls, settings: Settings) -> Who:
        """The teacher where the settings name one, else the student."""
        return cls.OPENAI if settings.teacher_base_url and settings.teacher_model else cls.STUDENT


class Tutor:
    """Has examples made, and remembers what came of it."""

    def __init__(self, services: Services, who: Who, told: Told, *, dry: bool = False) -> None:
        """Open the teacher, if it is to write.

        Args:
            services: The store and the experts.
            who: Writes.
            told: Told of progress.
            dry: Only say what would be asked for.

        Raises:
            UsageError: The settings' teacher cannot be used.
        """
        self._services = services
        self._who = who
        self._dry = dry
        self._told = told
        self._budget = Budget(services.store, services.settings)
        self.teacher = Teacher(Endpoint.open(services.settings), self._budget) if who is Who.OPENAI else None
        self.notes: list[str] = []
        """What came of it, a sentence each."""
        self.undecided = 0
        """Pairs of which it is not known yet whether there is a reason for them."""

    def rest(self, notes: Iterable[str]) -> None:
        """Have nothing more made, since an earlier process has, of which it noted this."""
        self._who = Who.NOBODY
        self.notes = list(notes)

    def summarize(self, reviews: Iterable[Review]) -> None:
        """Have the teacher, if there is one, summarize reviews; each is read once."""
        wanted = list(reviews)
        if not self.teacher or not wanted:
            return
        if self._dry:
            many = len(wanted)
            self.notes.append(f"{self.teacher.name} would summarize {many:,} reviews first; these would be new too.")
            return
        workers = self._services.settings.teacher_concurrency
        told = partial(self._told, "having reviews summarized")
        try:
            found = annotate_summaries(self._services.store, self.teacher, wanted, workers=workers, told=told)
        except EngineError as error:
            self.notes.append(f"The teacher could not go on: {error}.")
            return
        self.notes.append(
            f"{found.teacher} summarized {found.summarized:,} of {len(wanted):,} reviews that nobody had read."
        )
        if found.stopped:
            self._spent()

    def reason(self, pairs: Sequence[Pair]) -> None:
        """Have reasons sought for pairs that have reviews on both sides; of those decided before none is."""
        if pairs and self._who is not Who.NOBODY:
            self._seek(pairs)
        decided = {each.review_id for each in self._services.store.decisions().values() if each.outcome != "failed"}
        self.undecided = sum(pair.review_id not in decided for pair in pairs)

    def _seek(self, pairs: Sequence[Pair]) -> None:
        services = self._services
        try:
            found = filter_reasons(
                services,
                self.teacher or Student(services.engine),
                pairs,
                workers=services.settings.teacher_concurrency,
                told=partial(self._told, "finding reasons"),
            )
        except EngineError as error:
            self.notes.append(f"Not all reasons could be sought: {error}.")
            return
        self.notes.append(
            f"Of {len(pairs):,} pairs {found.kept + found.hinted:,} have a reason by {found.sampler} that "
            f"{services.engine.adapter_version(Expert.REWARD)} lets pass."
        )
        if found.stopped:
            self._spent()

    def _spent(self) -> None:
        why = self._budget.used_up()
        self.notes.append(f"{why[:1].upper()}{why[1:]}.")
