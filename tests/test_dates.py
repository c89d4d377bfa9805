"""Times as people read them: one style, whichever command prints them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import whylike.dates
from whylike.dates import day, minute

ROOT = Path(whylike.dates.__file__).parent


@pytest.mark.parametrize(
    ("timestamp", "said"),
    [(0, "1 January 1970"), (1_795_564_740, "24 November 2026"), (-1, "31 December 1969"), (10**30, str(10**30))],
)
def test_a_day(timestamp: int, said: str) -> None:
    assert day(timestamp) == said


def test_a_minute() -> None:
    assert minute(1_795_564_740.5) == "24 November 2026 23:59 UTC"


def test_nothing_else_writes_a_date() -> None:
    parts = ("adapters", "agents", "evaluation", "graph", "memory")
    modules = [*ROOT.glob("*.py"), *(path for part in parts for path in (ROOT / part).rglob("*.py"))]
    writes = re.compile(r"%[YB]|strftime|\.isoformat\(")
    assert [path.name for path in modules if writes.search(path.read_text(encoding="utf-8"))] == ["dates.py"]
