"""The commands of `whylike bench`: what they print where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from whylike.bench_cli import bench_app, ingest_card, pairs_card
from whylike.evaluation import pairs
from whylike.evaluation.ingesting import IngestBench, Ingested, Latency, Lookups
from whylike.evaluation.machine import EngineSettings, machine
from whylike.evaluation.metrics import Difference, Error
from whylike.evaluation.pairs import PairsBench
from whylike.evaluation.synthetic import Crowd
from whylike.graph.services import Services
from whylike.terminal import results

SETTINGS = EngineSettings(engine="local", model="m", device="cpu", batch=8, history=10, adapters={"reasoner": "base:m"})
LATENCY = Latency(lookups=1000, median_ms=0.5, p95_ms=2.25, max_ms=12)
INGEST = IngestBench(
    machine=machine(),
    crowd=Crowd(),
    sizes=[
        Ingested(
            rows=1_234_567, file_mib=200, seconds=154.3, rows_per_s=8000, start_mib=55, peak_mib=190, store_mib=900
        )
    ],
    history=Lookups(
        random_pairs=LATENCY,
        hottest_item=LATENCY,
        busiest_user=LATENCY,
        hottest_item_reviews=25_000,
        busiest_user_reviews=3000,
    ),
)
PAIRS = PairsBench(
    machine=machine(),
    settings=SETTINGS,
    seed=0,
    pairs=9,
    readouts={"uncalibrated_expectation": Error(rmse=1.25, mae=1.0)},
    baselines={"bias": Error(rmse=1.0, mae=0.75)},
    differences={"uncalibrated_expectation-bias": Difference(rmse=0.25, low=-0.125, high=0.5)},
    sentences=40,
    supported=0.975,
    without_reason=1,
    summaries_made=180,
    seconds_per_pair=2.5,
)


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a benchmark's command with the scripted engine; tells status, standard output and standard error."""
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")

    def run(*args: str) -> Any:
        result = CliRunner().invoke(bench_app, list(args))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_ingest_prints_one_document(run: Any, workplace: Path) -> None:
    result = run("ingest", "--rows", "50", "--seed", "4", "--json", "--store", str(workplace))
    document = json.loads(result.stdout)
    assert set(document) == {"machine", "crowd", "sizes", "history"}
    assert [size["rows"] for size in document["sizes"]] == [5, 16, 50]
    assert document["crowd"]["seed"] == 4
    assert list(workplace.iterdir()) == []


def test_pairs_passes_on_what_was_asked(run: Any, monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    calls: list[tuple[object, ...]] = []

    def bench(services: Services, limit: int, seed: int, told: object) -> PairsBench:
        calls.append((services.store.folder, limit, seed))
        return PAIRS

    monkeypatch.setattr(pairs, "bench_pairs", bench)
    result = run("pairs", "--limit", "5", "--seed", "2", "--json")
    assert json.loads(result.stdout) == PAIRS.model_dump(mode="json")
    assert calls == [(workplace / "store", 5, 2)]


def test_the_cards(capsys: pytest.CaptureFixture[str]) -> None:
    results().print(ingest_card(INGEST))
    shown = capsys.readouterr().out
    for said in ("1,234,567", "8,000", "memory MiB", "an item with 25,000 reviews", f"{machine().cores} cores"):
        assert said in shown
    results().print(pairs_card(PAIRS))
    shown = capsys.readouterr().out
    for said in ("bias (baseline)", "1.250", "+0.250", "-0.125 to +0.500", "98% of 40 sentences", "2.5 seconds a pair"):
        assert said in shown


@pytest.mark.parametrize("command", ["ingest", "pairs"])
def test_help_has_an_example_and_fits(run: Any, command: str) -> None:
    shown = run(command, "--help").stdout
    assert f"Example:\n    whylike bench {command}" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_nothing_heavy_and_no_pytest_is_imported() -> None:
    code = (
        "import sys, whylike.bench_cli, whylike.evaluate_cli\n"
        "light = [n for n in 'numpy pydantic rich sqlalchemy torch'.split() if n in sys.modules]\n"
        "import whylike.evaluation.pairs, whylike.evaluation.summaries, whylike.evaluation.ingesting\n"
        "print(light, 'pytest' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
