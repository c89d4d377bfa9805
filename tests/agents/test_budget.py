"""The teacher's budget in words: what is left, what it costs, and when it renews."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from whylike.agents.budget import Budget, Paid
from whylike.errors import BudgetError
from whylike.memory.spending import DAY, Purpose, Spent
from whylike.memory.store import Store
from whylike.settings import Settings

EVENING = 20_000 * DAY + 18 * 3_600 + 50 * 60
Made = Callable[..., Budget]


@pytest.fixture
def budget(tmp_path: Path) -> Iterator[Made]:
    with Store.open(Settings(store=tmp_path / "store")) as store:

        def made(**more: Any) -> Budget:
            return Budget(store, Settings(**more), lambda: EVENING)

        yield made


def spend(budget: Budget, tokens_in: int, tokens_out: int) -> None:
    number = budget.book("big", Purpose.REASONS, Spent(calls=1, tokens_in=1_000, tokens_out=400))
    budget.settle(number, "answered", Spent(calls=1, tokens_in=tokens_in, tokens_out=tokens_out))


def test_a_budget_that_is_used_up_says_what_is_used_and_when_it_renews(budget: Made):
    with pytest.raises(BudgetError, match="0 of 0 calls"):
        spend(budget(teacher_calls=0), 1, 1)
    with pytest.raises(BudgetError, match="0 of 1,399 tokens"):
        spend(budget(teacher_tokens=1_399), 1, 1)
    spend(budget(teacher_calls=1), 700, 50)
    with pytest.raises(BudgetError, match=r"1 of 1 calls and 750 of .* midnight UTC, in 5 h 10 min; raise teacher_cal"):
        spend(budget(teacher_calls=1), 1, 1)


def test_costs_are_told_where_a_price_is_set(budget: Made):
    free = budget()
    spend(free, 500_000, 250_000)
    assert free.paid == Paid(calls=1, tokens_in=500_000, tokens_out=250_000, cost=None)
    assert "cost" not in free.today()
    dear = budget(teacher_price_in=2, teacher_price_out=8, teacher_tokens=10**7)
    assert dear.cost(Spent(tokens_in=500_000, tokens_out=250_000)) == 3.0
    assert "750,000 of 10,000,000 tokens are used today, cost 3.0000;" in dear.today()
    assert dear.paid == Paid(cost=0.0), "what others spent is not this run's"
    half = budget(teacher_price_out=8)
    assert half.cost(Spent(tokens_in=500_000, tokens_out=250_000)) == 2.0


def test_the_course_of_a_run_tells_what_it_may_come_to(budget: Made):
    run = budget(teacher_price_in=1)
    assert run.course(0, 10) == "0 tokens, cost 0.0000"
    spend(run, 800, 200)
    assert run.course(1, 10) == "1,000 tokens of about 10,000, cost 0.0008 of about 0.0080"
    assert run.course(10, 10) == "1,000 tokens, cost 0.0008"
