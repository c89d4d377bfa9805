"""A stand-in for the graph of one pair, for tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

from whylike.explanation import Explanation
from whylike.memory.store import Store

HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]A\u202e title\x9b2J"

EXPLANATION: dict[str, Any] = {
    "user_id": "ann",
    "item_id": "i1",
    "as_of": 1_700_000_000,
    "rating": {
        "scale": [1, 5],
        "expectation": 4.21,
        "mode": 5,
        "distribution": {"1": 0.02, "2": 0.03, "3": 0.1, "4": 0.25, "5": 0.6},
        "interval": [3, 5],
        "uncalibrated_expectation": 4.4,
        "bias_baseline": 4.1,
    },
    "reason": {
        "text": "The user likes slow films. Nobody knows why.",
        "sentences": [
            {"text": "The user likes slow films.", "evidence": ["r1"], "supported": True},
            {"text": "Nobody knows why.", "evidence": [], "supported": False},
        ],
    },
    "profiles": {"user": {"likes": ["slow"], "dislikes": []}, "item": {"likes": [], "dislikes": [], "strategy": "all"}},
    "evidence": [
        {
            "id": "r1",
            "user_id": "ann",
            "item_id": HOSTILE,
            "rating": 5,
            "timestamp": 1_600_000_000,
            "summary": {"likes": [HOSTILE, "slow"], "dislikes": [], "preferences": []},
        }
    ],
    "adapters": {"summarizer": "base:tiny", "reasoner": "base:tiny", "predictor": "base:tiny"},
    "engine": "scripted",
    "seconds": {"summarize": 1.5, "reason": 0.25, "predict": 0.0},
    "notes": [f"A note about {HOSTILE}"],
}

REVIEW: dict[str, Any] = {
    "review_id": "r", "user_id": "u", "item_id": "i1", "rating": 4, "text": "Good.", "timestamp": 1_500_000_000
}  # fmt: skip


class Graph(ModuleType):
    """Stands in for `whylike.graph.pair`."""

    def __init__(self) -> None:
        super().__init__("whylike.graph.pair")
        self.calls: list[dict[str, Any]] = []
        self.fails: BaseException | None = None

        class Services:
            @staticmethod
            @contextmanager
            def open(settings: Any, told: Any) -> Iterator[SimpleNamespace]:
                with Store.open(settings) as store:
                    yield SimpleNamespace(store=store, settings=settings)

        self.Services = Services

    def explain(self, services: Any, user_id: str, item_id: str, **how: Any) -> Explanation:
        set_ = {"store": services.settings.store, "item_profile": services.settings.item_profile}
        self.calls.append({"user_id": user_id, "item_id": item_id} | set_ | how)
        how["on_event"](SimpleNamespace(node="summarize", done=1, total=2, text=""))
        how["on_event"](SimpleNamespace(node="reason", done=0, total=0, text="The user "))
        if self.fails:
            raise self.fails
        return Explanation.model_validate(EXPLANATION | {"user_id": user_id, "item_id": item_id})
