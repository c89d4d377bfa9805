"""From a teacher's file to an adapter in the registry, by the commands, on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from whylike.adapters.training.summaries import summary_examples
from whylike.adapters.training.teach import FOLDER, held_out
from whylike.cli import app
from whylike.memory.store import Store
from whylike.records import SummaryAnnotation
from whylike.settings import Settings

ROWS = 120


@pytest.fixture
def run(workplace: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("WHYLIKE_MODEL", str(tiny))
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", workplace / "none")
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def file(workplace: Path) -> Path:
    path = workplace / "summaries.jsonl"
    rows = (
        {
            "item_id": f"i{number}",
            "rating": 1 + number % 5,
            "text": f"The {number}th one. Warm sound.",
            "summary": f"Positive Aspects: Warm sound, {number}\nNegative Aspects: None",
        }
        for number in range(ROWS)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_from_a_teachers_file_to_an_adapter(run: Callable[..., Result], file: Path):
    first, second = run("annotate", "--import", file), run("annotate", "--import", file)
    assert (first.exit_code, first.stdout) == (0, f"{ROWS} new, 0 there already: what a teacher wrote.\n")
    assert second.stdout.startswith(f"0 new, {ROWS} there already")
    done = run("train", "summarizer", "--epochs", 1, "--rank", 2, "--batch", 8, "--json")
    assert done.exit_code == 0, done.stderr
    lesson = json.loads(done.stdout)
    with Store.open(Settings()) as store:
        learned, held = held_out(summary_examples(store.annotations(SummaryAnnotation)))
    assert held
    assert 0 < lesson["examples"] < len(learned), "some of them decide when to stop"
    shown = json.loads(run("adapters", "show", lesson["version"], "--json").stdout)
    assert shown["card"]["expert"] == "summarizer"
    assert shown["card"]["settings"]["rank"] == shown["card"]["rank"] == 2
    assert shown["card"]["metrics"]["examples"] == lesson["examples"]
    assert shown["card"]["data_hash"]
    assert not list((Settings().store / FOLDER).glob("*/*")), "what a run needed on its way is gone"
    again = run("train", "summarizer", "--epochs", 1, "--rank", 2, "--batch", 8)
    assert again.stdout.startswith(f"{lesson['version']} is in the registry; `whylike adapters promote")
    assert run("adapters", "promote", lesson["version"]).exit_code == 0


def test_without_annotations_nothing_is_learned(run: Callable[..., Result]):
    refused = run("train", "summarizer")
    assert refused.exit_code == 2
    assert "0 examples to learn from" in refused.stderr


def test_a_file_that_cannot_be_read_is_refused(run: Callable[..., Result], workplace: Path):
    (workplace / "bad").write_text("{}\n")
    refused = run("annotate", "--import", workplace / "bad")
    assert refused.exit_code == 2
    assert "line 1 of" in refused.stderr
