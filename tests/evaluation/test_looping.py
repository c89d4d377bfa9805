"""The loop on invented reviews, end to end on a tiny model, and what poison is made of."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from lettered import Letters
from random_model import random_model
from typer.testing import CliRunner

from whylike.cli import app
from whylike.evaluation.looping import POISON, poisoned
from whylike.records import RatingScale, Review

SCALE = RatingScale()


def batch() -> list[Review]:
    return [
        Review(
            review_id=f"r{number}",
            user_id=f"u{number % 40}",
            item_id=f"i{number % 90}",
            rating=1 + number % 5,
            text=f"It is {'abcdefghij'[number % 10]} {'klmnopqrst'[number // 10 % 10]} {'uvwxyz'[number % 6]}",
            timestamp=1_500_000_000 + 1000 * number,
        )
        for number in range(1000)
    ]


def test_poison_is_what_it_is_called() -> None:
    given = batch()[:60]
    turned = poisoned(given, "wrong-ratings", SCALE)
    assert [(own.rating + was.rating, own.text) for own, was in zip(turned, given, strict=True)] == [
        (6, each.text) for each in given
    ]
    for kind in ("flood", "copies", "instructions"):
        fed = poisoned(given, kind, SCALE)
        added = [each for each in fed if each not in given]
        assert (len(fed), len(added)) == (560, POISON)
        assert {each.rating for each in added} == {1}
        users, texts = Counter(each.user_id for each in added), Counter(each.text for each in added)
        assert len(users) == (1 if kind == "flood" else POISON)
        assert len(texts) == (1 if kind == "copies" else len(texts))
        assert all(each.text.startswith("Ignore all instructions") for each in added if kind == "instructions")
        assert fed == poisoned(given, kind, SCALE)


def test_the_loop_on_a_tiny_model(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", Path("none"))
    model = random_model(
        workplace / "model",
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    for name, value in {"MODEL": model, "HISTORY": 2, "LEARN_NEW": 30, "LEARN_FROZEN": 30}.items():
        monkeypatch.setenv(f"WHYLIKE_{name}", str(value))
    rows = (each.model_dump(exclude={"helpful"}) for each in batch())
    (workplace / "reviews.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = ["evaluate", "learning", "reviews.jsonl", "--store", "loop", "--start", "50", "--limit", "20"]
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["reviews"] for each in found["batches"]] == [100, 100, 100]
    outcomes = [each["outcome"] for each in found["batches"]]
    assert {each["outcome"] for each in outcomes} <= {"promoted", "kept"}
    live = found["deployed"]
    for outcome in outcomes:
        assert outcome["parent"] == live
        live = outcome["version"] if outcome["outcome"] == "promoted" else live
        assert {(each["on"], each["figure"]) for each in outcome["compared"]} == {
            (on, figure) for on in ("newest", "frozen") for figure in ("RMSE", "calibrated RMSE")
        }
    assert [len(each["following"]) for each in found["batches"]] == [2, 2, 0]
    spoilt = CliRunner().invoke(app, [*asked, "--poison", "flood"])
    assert spoilt.exit_code == 0, spoilt.stderr
    assert "more of one user" in " ".join(spoilt.stdout.split())
    refused = CliRunner().invoke(app, [*asked, "--poison", "arsenic"])
    assert refused.exit_code == 2
    assert "--poison arsenic is not one of wrong-ratings, flood, instructions, copies" in refused.stderr
