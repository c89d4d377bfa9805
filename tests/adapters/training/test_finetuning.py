"""`evaluate ratings --exp3rt --finetune`: for each fold a Predictor that was taught on the others, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lettered import Letters
from readme import commands
from released import pair
from typer.testing import CliRunner

from whylike.adapters.training.trainer import Recipe
from whylike.cli import app
from whylike.evaluation import finetuning
from whylike.evaluation.exp3rt import evaluate_exp3rt
from whylike.graph.services import Services
from whylike.memory.splits import folds
from whylike.settings import Settings

USERS, ROWS = 32, 36


def rows() -> list[dict[str, Any]]:
    return [
        pair(f"u{number % USERS}", number % 7, (3.5 + number % 5, 6.1), 1 + number % 10, likes=[f"jokes {number}"])
        for number in range(ROWS)
    ]


def test_each_fold_is_answered_by_what_was_taught_on_the_others(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps(rows()))
    trained: list[set[str]] = []
    train = finetuning.train

    def noted(base: Any, examples: Any, validation: Any, *more: Any, **how: Any) -> Any:
        trained.append({each.group for each in (*examples, *validation)})
        assert not {each.group for each in examples} & {each.group for each in validation}
        return train(base, examples, validation, *more, **how)

    monkeypatch.setattr(finetuning, "train", noted)
    settings = Settings(store=tmp_path / "store", model=str(tiny), engine="reference", device="cpu")
    recipe = Recipe(rank=2, alpha=4, epochs=1)
    with Services.open(settings) as services:
        found = evaluate_exp3rt(services, file, count=2, finetune=recipe)
        again = evaluate_exp3rt(services, file, count=2, finetune=recipe)
    assert again.readouts == found.readouts
    users = [f"u{number % USERS}" for number in range(ROWS)]
    out = [{users[row] for row in part} for part in folds(users, 2, 0)]
    assert trained == [set(users) - out[0], set(users) - out[1]], "and what was trained is not trained again"
    assert found.pairs == ROWS
    assert found.readouts["expectation"] != found.readouts["moved_averages"]
    assert any("taught on the others" in note for note in found.notes)
    assert not list((tmp_path / "store" / "exp3rt").glob("*/folds/*-unfinished"))


def test_the_readmes_command_trains_for_each_fold(tiny: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    monkeypatch.setenv("WHYLIKE_MODEL", str(tiny))
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    (workplace / "imdb.json").write_text(json.dumps(rows()))
    [line] = [line for line in commands("evaluate") if "--finetune" in line]
    done = CliRunner().invoke(app, [*line, "--folds", "2", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pairs"] == ROWS
    assert len(list((workplace / "store" / "exp3rt").glob("*/folds/*/adapter_config.json"))) == 2
