"""The commands of `whylike bench`: what they print where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from whylike.bench_cli import bench_app, ingest_card
from whylike.evaluation.ingesting import IngestBench, Ingested, Latency, Lookups
from whylike.evaluation.machine import machine
from whylike.evaluation.synthetic import Crowd
from whylike.terminal import results

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
        hottest_item_helpful=LATENCY,
        hottest_item_neighbours=LATENCY,
        hottest_item_reviews=25_000,
        busiest_user_reviews=3000,
    ),
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


def test_the_cards(capsys: pytest.CaptureFixture[str]) -> None:
    results().print(ingest_card(INGEST))
    shown = capsys.readouterr().out
    for said in ("1,234,567", "8,000", "memory MiB", "an item with 25,000 reviews", f"{machine().cores} cores"):
        assert said in shown


@pytest.mark.parametrize("command", ["ingest", "parity"])
def test_help_has_an_example_and_fits(run: Any, command: str) -> None:
    shown = run(command, "--help").stdout
    assert f"Example:\n    whylike bench {command}" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_nothing_heavy_and_no_pytest_is_imported() -> None:
    code = (
        "import sys, whylike.bench_cli, whylike.evaluate_cli\n"
        "light = [n for n in 'numpy pydantic rich sqlalchemy torch'.split() if n in sys.modules]\n"
        "import whylike.evaluation.ratings, whylike.evaluation.summaries, whylike.evaluation.ingesting\n"
        "print(light, 'pytest' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
