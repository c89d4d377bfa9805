"""The loop on invented reviews, where a tiny model is trained, and what poison is made of."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from lettered import Letters
from random_model import random_model
from typer.testing import CliRunner, Result

from whylike.cli import app
from whylike.evaluation.looping import POISON, Fed, poisoned
from whylike.records import RatingScale, Review

SCALE = RatingScale()


def batch() -> list[Review]:
    return [
        Review(
            review_id=f"r{number}",
            user_id=f"u{number % 40}",
            item_id=f"i{number % 90}",
            rating=1 + number % 5,
            text="It is " + " ".join("abcdefghij"[int(figure)] * 2 for figure in f"{number:03}"),
            timestamp=1_500_000_000 + 1000 * number,
        )
        for number in range(700)
    ]


def test_poison_is_what_it_is_called() -> None:
    given = [Fed(each) for each in batch()[:60]]
    turned = poisoned(given, "wrong-ratings", SCALE)
    assert [
        (own.review.rating + was.review.rating, own.review.text) for own, was in zip(turned, given, strict=True)
    ] == [(6, each.review.text) for each in given]
    for kind in ("flood", "copies", "instructions"):
        fed = poisoned(given, kind, SCALE)
        added = [each.review for each in fed if each not in given]
        assert (len(fed), len(added)) == (560, POISON)
        assert {each.rating for each in added} == {1}
        users, texts = Counter(each.user_id for each in added), Counter(each.text for each in added)
        assert len(users) == (1 if kind == "flood" else POISON)
        assert len(texts) == (1 if kind == "copies" else len(texts))
        assert all(each.text.startswith("Ignore all instructions") for each in added if kind == "instructions")
        assert fed == poisoned(given, kind, SCALE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with the real tokenizer."""
    return random_model(
        tmp_path_factory.mktemp("model"),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )


@pytest.fixture
def given(model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of reviews, and settings with which a tiny model learns and answers are scripted."""
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", Path("none"))
    own = {"MODEL": model, "ENGINE": "scripted", "HISTORY": 2, "LEARN_NEW": 12, "LEARN_FROZEN": 20}
    for name, value in own.items():
        monkeypatch.setenv(f"WHYLIKE_{name}", str(value))
    rows = (each.model_dump(exclude={"helpful"}) for each in batch())
    (workplace / "reviews.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return workplace


def run(*asked: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", "learning", "reviews.jsonl", "--store", "loop", *asked])


FEW = ("--start", "50", "--limit", "20")


@pytest.mark.usefixtures("given")
def test_a_predictor_goes_through_the_loop() -> None:
    done = run(*FEW, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["expert"], [each["reviews"] for each in found["batches"]]) == ("predictor", [71, 71, 69])
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
    spoilt = run(*FEW, "--poison", "flood")
    assert spoilt.exit_code == 0, spoilt.stderr
    assert "more of one user" in " ".join(spoilt.stdout.split())


def test_a_summarizer_goes_through_the_loop_of_the_reviews_that_a_teacher_summarized(given: Path) -> None:
    rows = [
        {
            "item_id": each.item_id,
            "rating": each.rating,
            "text": each.text,
            "summary": f"Positive Aspects: {each.text[6:]}\nNegative Aspects: None\nUser Preference Elements: letters",
        }
        for number, each in enumerate(batch())
        if number % 7
    ]
    (given / "summaries.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done = run(*FEW, "--annotations", "summaries.jsonl", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["expert"], found["reviews"]) == ("summarizer", 600)
    assert [each["outcome"]["arrived"] for each in found["batches"]] == [60, 60, 60]
    for each in found["batches"]:
        assert each["outcome"]["parent"].startswith("summarizer-")
        compared = [(one["on"], one["figure"]) for one in each["outcome"]["compared"]]
        assert compared == [("newest", "F1"), ("frozen", "F1")]
    assert [[one["examples"] for one in each["following"]] for each in found["batches"]] == [[20], [20], []]


@pytest.mark.usefixtures("given")
def test_what_makes_no_loop_is_refused(given: Path) -> None:
    refused = run("--poison", "arsenic")
    assert refused.exit_code == 2
    assert "--poison arsenic is not one of wrong-ratings, flood, instructions, copies" in refused.stderr
    lists = "Positive Aspects: a\nNegative Aspects: b\nUser Preference Elements: c"
    other = {"item_id": "i1", "rating": 5, "text": "Of other reviews.", "summary": lists}
    (given / "summaries.jsonl").write_text(json.dumps(other) + "\n")
    refused = run("--annotations", "summaries.jsonl")
    assert refused.exit_code == 2
    assert "has summaries of 0 reviews in reviews.jsonl, and 100 are needed" in refused.stderr
    assert run("--annotations", "summaries.jsonl", "--poison", "flood").exit_code == 2
