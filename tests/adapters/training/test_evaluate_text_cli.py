"""`whylike evaluate summaries` on a tiny model and on the real one: what it prints where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from whylike.adapters.engines.base import Adapter
from whylike.adapters.registry.registry import Registry
from whylike.cli import app
from whylike.memory.store import Store
from whylike.records import Expert, Provenance, SummaryAnnotation
from whylike.settings import Settings

TEACHER = Path(__file__).parents[3].parent / "shared" / "data" / "teacher" / "review_summaries.jsonl.gz"


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", workplace / "none")
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def known(tiny: Path, adapters: dict[Expert, Adapter], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """A store with annotations, and the versions of the adapters in its registry, of which none is live."""
    monkeypatch.setenv("WHYLIKE_MODEL", str(tiny))
    settings = Settings()
    with Store.open(settings) as store:
        store.add_annotations(
            (
                SummaryAnnotation(
                    item_id=f"i{number}", text=f"Warm sound, number {number}.", rating=4, likes=("sound",)
                )
                for number in range(60)
            ),
            "test",
        )
        registry = Registry(settings, store, workplace / "none")
        provenance = {"created_at": 1, "command": "test"}
        return {
            expert: registry.add(adapters[expert].folder, Provenance(expert=expert, **provenance))
            for expert in (Expert.SUMMARIZER, Expert.PREDICTOR)
        }


def test_an_adapter_that_is_not_live_is_evaluated_beside_the_base_model(run: Callable[..., Result], known: dict):
    version = known[Expert.SUMMARIZER]
    done = run("evaluate", "summaries", "--adapter", version, "--limit", 2, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found["ways"]) == ["adapter", "base judged", "base written"]
    assert found["ways"]["adapter"]["adapter"] == version
    assert found["ways"]["base judged"]["adapter"].startswith("base:")
    assert found["reviews"] == 2
    promoted = run("adapters", "promote", version)
    assert promoted.exit_code == 0, promoted.stderr
    live = run("evaluate", "summaries", "--no-base", "--limit", 2)
    assert live.exit_code == 0, live.stderr
    assert "adapter   teacher" in live.stdout
    assert version in live.stdout.replace("\n", "")
    assert "base judged" not in live.stdout.splitlines()[1]


def test_what_cannot_be_evaluated_is_refused(run: Callable[..., Result], known: dict):
    for arguments, said in (
        (["--no-base"], "no adapter is live for the summarizer"),
        (["--adapter", known[Expert.PREDICTOR]], "is an adapter of the predictor, not of the summarizer"),
        (["--adapter", "summarizer-nothing"], "there is no adapter 'summarizer-nothing'"),
    ):
        refused = run("evaluate", "summaries", *arguments)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert said in refused.stderr


def test_help_has_an_example_and_fits(run: Callable[..., Result]):
    shown = run("evaluate", "summaries", "--help").stdout
    assert "Example:\n    whylike evaluate summaries" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.model
@pytest.mark.realdata
@pytest.mark.skipif(not TEACHER.exists(), reason=f"the teacher's summaries are not at {TEACHER}")
def test_real_reviews_and_the_real_model(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WHYLIKE_CACHE")  # the converted model is there
    assert run("annotate", "--import", TEACHER).exit_code == 0
    done = run("evaluate", "summaries", "--limit", 2, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["teacher"]["invented"] < 0.3
    assert found["teacher"]["invented_elsewhere"] > 0.7
    judged = found["ways"]["base judged"]
    assert judged["invented"] == 0, "it keeps to the reviewer's words"
    assert judged["aspects"]["found"] > 0
