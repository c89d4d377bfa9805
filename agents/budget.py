"""The teacher's budget: what it may be asked on a day, and what that has cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from pydantic import Field

from whylike.errors import BudgetError
from whylike.memory.spending import DAY, Outcome, Purpose, Spent
from whylike.memory.store import Store
from whylike.settings import Settings

MILLION = 1_000_000


class Paid(Spent):
    """What calls took and cost."""

    cost: float | None = Field(description="In the money of teacher_price_in and teacher_price_out, if they are set")


class Budget:
    """Books calls in the store, so that all processes together stay within the settings. Safe for several threads."""

    def __init__(self, store: Store, settings: Settings, now: Callable[[], float] = time.time) -> None:
        """`now`: seconds since 1970."""
        self._store = store
        self._settings = settings
        self._now = now
        self._lock = Lock()
        self._spent = Spent()

    @property
    def paid(self) -> Paid:
        """What the settled calls of this budget took, of this process alone."""
        return Paid(**self._spent.model_dump(), cost=self.cost(self._spent))

    def book(self, model: str, purpose: Purpose, most: Spent) -> int:
        """Book a call that takes so much at most.

        Returns:
            Its number.

        Raises:
            BudgetError: It would be more than is allowed today.
        """
        calls, tokens = self._settings.teacher_calls, self._settings.teacher_tokens
        number = self._store.book_call(model, purpose, most, calls=calls, tokens=tokens, now=int(self._now()))
        if number is None:
            raise BudgetError(self.used_up())
        return number

    def settle(self, number: int, outcome: Outcome, took: Spent) -> None:
        """Note what became of a call, and what it took indeed."""
        self._store.settle_call(number, outcome, took)
        with self._lock:
            self._spent = self._spent.plus(took)

    def used_up(self) -> str:
        """What is said where it does not allow another call."""
        return (
            f"the teacher's budget does not allow another call: {self.today()}; raise teacher_calls or teacher_tokens, "
            "or wait"
        )

    def today(self) -> str:
        """How much of the day's budget is used, and when it renews, in words."""
        now = int(self._now())
        used = self._store.spent(now)
        hours, rest = divmod(DAY - now % DAY, 3_600)
        cost = self.cost(used)
        return (
            f"{used.calls:,} of {self._settings.teacher_calls:,} calls and {used.tokens:,} of "
            f"{self._settings.teacher_tokens:,} tokens are used today{'' if cost is None else f', cost {cost:.4f}'}; "
            f"it renews at midnight UTC, in {hours} h {rest // 60:02d} min"
        )

    def cost(self, spent: Spent) -> float | None:
        """What that cost, in the money of the prices; None where none is set."""
        prices = self._settings.teacher_price_in, self._settings.teacher_price_out
        if prices == (None, None):
            return None
        price_in, price_out = (price or 0.0 for price in prices)
        return (spent.tokens_in * price_in + spent.tokens_out * price_out) / MILLION

    def course(self, done: int, total: int) -> str:
        """What this process has spent, and what it may come to once `total` of which `done` are done is all done."""
        paid = self.paid
        share = total / done if 0 < done < total else None
        tokens = f"{paid.tokens:,} tokens" + (f" of about {round(paid.tokens * share):,}" if share else "")
        if paid.cost is None:
            return tokens
        return f"{tokens}, cost {paid.cost:.4f}" + (f" of about {paid.cost * share:.4f}" if share else "")
