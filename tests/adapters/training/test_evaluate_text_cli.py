"""`whylike evaluate summaries` and `reasons`, on small models and on the real one: what they print where."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from lettered import Letters
from typer.testing import CliRunner, Result

from whylike.adapters.engines.base import Adapter
from whylike.adapters.registry.registry import Registry
from whylike.cli import app
from whylike.memory.store import Store
from whylike.records import Expert, Provenance, Review, SummaryAnnotation
from whylike.settings import Settings

REAL = Path(__file__).parents[3].parent / "shared" / "data"
TEACHER = REAL / "teacher" / "review_summaries.jsonl.gz"
MUSIC = REAL / "digital_music" / "reviews.jsonl.gz"


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", workplace / "none")
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def known(tiny: Path, adapters: dict[Expert, Adapter], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """A store with annotations, and the versions of the adapters in its registry, of which none is live."""
    monkeypatch.setenv("WHYLIKE_MODEL", str(tiny))
    monkeypatch.setenv("WHYLIKE_ENGINE", "reference")  # which prepares nothing
    monkeypatch.setattr("whylike.evaluation.summaries.Embedder", Letters)
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
    few = " ".join(live.stdout.split())
    assert re.search(r"of drawing only [12] items? anew, say little", few)


def test_what_cannot_be_evaluated_is_refused(run: Callable[..., Result], known: dict):
    for arguments, said in (
        (["--no-base"], "no adapter is live for the summarizer"),
        (["--adapter", known[Expert.PREDICTOR]], "is an adapter of the predictor, not of the summarizer"),
        (["--adapter", "summarizer-nothing"], "there is no adapter 'summarizer-nothing'"),
    ):
        refused = run("evaluate", "summaries", *arguments)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert said in refused.stderr


def test_reasons_of_an_adapter_are_measured_beside_those_of_the_base_model(
    run: Callable[..., Result], known: dict, others: dict[Expert, Adapter], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    with Store.open(Settings()) as store:
        store.add_reviews(
            Review(
                review_id=f"r{number}",
                user_id=f"u{number % 10}",
                item_id=f"i{number % 7}",
                rating=1 + number % 5,
                text=f"Bright strings all through, {number}. Cheap covers tear at once.",
                timestamp=number,
            )
            for number in range(60)
        )
    added = run("adapters", "add", others[Expert.REASONER].folder, "--expert", "reasoner")
    version = added.stdout.split()[0]
    done = run("evaluate", "reasons", "--adapter", version, "--limit", 4, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["pairs"], list(found["ways"])) == (4, ["adapter", "base"])
    assert found["ways"]["adapter"]["adapter"] == version
    assert found["ways"]["base"]["adapter"].startswith("base:")
    shown = run("evaluate", "reasons", "--limit", 4)
    assert shown.exit_code == 0, shown.stderr
    assert "swap: expectation moves" in shown.stdout
    refused = run("evaluate", "reasons", "--no-base")
    assert refused.exit_code == 2
    assert "no adapter is live for the reasoner" in refused.stderr


@pytest.mark.parametrize("command", ["summaries", "reasons"])
def test_help_has_an_example_and_fits(run: Callable[..., Result], command: str):
    shown = run("evaluate", command, "--help").stdout
    assert f"Example:\n    whylike evaluate {command}" in shown
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


@pytest.mark.model
@pytest.mark.realdata
@pytest.mark.skipif(not MUSIC.exists(), reason=f"the real reviews are not at {MUSIC}")
def test_reasons_for_real_pairs_by_the_real_model(
    run: Callable[..., Result], workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("WHYLIKE_CACHE")
    monkeypatch.setenv("WHYLIKE_HISTORY", "2")  # the model reads tens of tokens a second
    with gzip.open(MUSIC, "rt", encoding="utf-8") as lines:
        (workplace / "some.jsonl").write_text("".join(islice(lines, 400)))
    assert run("ingest", workplace / "some.jsonl").exit_code == 0
    done = run("evaluate", "reasons", "--limit", 2, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)["ways"]["base"]
    assert found["sentences"] > 0
    assert (found["supported"], found["stating"], found["copied"]) == (1, 0, 0), "a grammar holds what it writes"
