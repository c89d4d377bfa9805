"""A teacher on call: asked while a user waits, within a time, and left alone for a while once it has failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from whylike.agents.budget import Budget
from whylike.agents.endpoint import Endpoint, NotAnsweredError
from whylike.agents.teacher import Teacher
from whylike.errors import BudgetError, UsageError, WhylikeError
from whylike.memory.store import Store
from whylike.settings import Settings

AWAY = 60.0
"""Seconds that a teacher is left alone after a failure, so that not every answer waits for it in vain."""
LONGEST_AWAY = 3_600.0
"""Seconds that it is left alone at most, whatever it asks for."""

T = TypeVar("T")


class UnheardError(WhylikeError):
    """The teacher cannot help now; the message says why in a few words."""


class OnCall:
    """The teacher of the settings, if they name one. Safe to use from several threads, which share its failures."""

    def __init__(self, store: Store, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds of a clock that nobody sets."""
        self._store = store
        self._settings = settings
        self._now = now
        self._lock = Lock()
        self._away_until = 0.0
        self._why = ""

    def teacher(self) -> Teacher:
        """The teacher itself, which this does not ask. Raises `UnheardError` where none can be asked."""
        try:
            return Teacher(Endpoint.open(self._settings), Budget(self._store, self._settings), live=True)
        except UsageError as error:
            raise UnheardError(str(error)) from None

    def ask(self, question: Callable[[Teacher], T]) -> T:
        """What a question to the teacher gives. Raises `UnheardError` where there is no answer, or no asking now."""
        teacher = self.teacher()
        with self._lock:
            away = self._away_until - self._now()
            if away > 0:
                raise UnheardError(f"it is left alone for another {away:.0f} s, after: {self._why}")
        try:
            return question(teacher)
        except NotAnsweredError as error:
            with self._lock:
                self._why = error.brief
                self._away_until = self._now() + max(AWAY, min(error.after, LONGEST_AWAY))
            raise UnheardError(error.brief) from error
        except BudgetError as error:
            raise UnheardError(str(error)) from None
