"""The commands of `whylike bench`: measure this machine and this store, and print a table or a JSON document."""

# What is heavy is imported inside the commands, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415, PLR0917
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whylike.options import PLAIN, Json, Store, Verbose, examples, show
from whylike.tables import figures, ran_on, told
from whylike.terminal import log, messages

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from whylike.evaluation.engines import EnginesBench, Speed
    from whylike.evaluation.ingesting import IngestBench, Latency
    from whylike.evaluation.parity import ParityBench

bench_app = typer.Typer(
    help="Measure speed and memory on this machine.",
    epilog=examples("whylike bench ingest --rows 100000"),
    **PLAIN,
)

Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of what is drawn at random.")]
Place = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="DIR", help="Folder to measure in; what is made there is removed. Default: /tmp or the like."
    ),
]


@bench_app.command(epilog=examples("whylike bench ingest", "whylike bench ingest --rows 100000 --json"))
def ingest(
    rows: Annotated[int, typer.Option(metavar="N", min=10, help="Rows of the largest file.")] = 1_000_000,
    seed: Seed = 0,
    as_json: Json = False,
    store: Place = None,
    verbose: Verbose = 0,
) -> None:
    """Ingest invented reviews and look up histories.

    Files of a tenth, a third and all of the rows are ingested, each in a process of its own, to show whether memory
    grows with the file. A million rows need some minutes and 2 GB of disk for a while.
    """
    from whylike.evaluation.ingesting import bench_ingest
    from whylike.evaluation.synthetic import Crowd
    from whylike.progress import Watch

    log(verbose)
    with Watch(messages(), "inventing reviews") as watch:
        bench = bench_ingest(rows, Crowd(seed=seed), store, told(watch))
    show(bench, None if as_json else ingest_card(bench))


@bench_app.command(epilog=examples("whylike bench engines", "whylike bench engines --rounds 5 --json"))
def engines(
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Times that each engine is measured.")] = 3,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Measure the speed and memory of the engines.

    The reference (transformers and PEFT), the local engine, vLLM where it is installed and, without adapters, llama.cpp
    get the same prompts, with adapters made on the spot. A round takes some eight minutes on two cores.
    """
    from whylike.evaluation.engines import bench_engines
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    with Watch(messages(), "making adapters") as watch:
        bench = bench_engines(load({"store": store}), rounds, told(watch))
    show(bench, None if as_json else engines_card(bench))


@bench_app.command(epilog=examples("whylike bench parity", "whylike bench parity --limit 30 --json"))
def parity(
    limit: Annotated[int, typer.Option(metavar="N", min=3, help="Reviews that are asked about.")] = 100,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Training steps of each adapter.")] = 12,
    seed: Seed = 0,
    as_json: Json = False,
    store: Store = None,
    verbose: Verbose = 0,
) -> None:
    """Compare what the engines say with the reference in fp32.

    An adapter for each expert is trained a little on reviews of the store, and all engines are asked about others.
    """
    from whylike.evaluation.parity import bench_parity
    from whylike.memory.store import Store as Opened
    from whylike.progress import Watch
    from whylike.settings import load

    log(verbose)
    settings = load({"store": store})
    with Opened.open(settings) as opened, Watch(messages(), "loading the model") as watch:
        bench = bench_parity(settings, opened, limit, steps=steps, seed=seed, told=told(watch))
    show(bench, None if as_json else parity_card(bench))


def ingest_card(bench: IngestBench) -> RenderableType:
    """What `bench ingest` found, for people."""
    from rich.console import Group

    sizes = figures("rows", "rows/s", "seconds", "file MiB", "store MiB", "memory MiB")
    for size in bench.sizes:
        sizes.add_row(
            f"{size.rows:,}",
            f"{size.rows_per_s:,.0f}",
            f"{size.seconds:,.1f}",
            f"{size.file_mib:,.1f}",
            f"{size.store_mib:,.1f}",
            f"{size.peak_mib:,.0f}",
        )
    found = bench.history
    lookups = figures("history of", "lookups", "median ms", "95% ms", "most ms")
    _lookup_row(lookups, "random pairs", found.random_pairs)
    _lookup_row(lookups, f"an item with {found.hottest_item_reviews:,} reviews", found.hottest_item)
    _lookup_row(lookups, f"a user with {found.busiest_user_reviews:,} reviews", found.busiest_user)
    _lookup_row(lookups, "that item, its most helpful reviews", found.hottest_item_helpful)
    _lookup_row(lookups, "that item, its reviews by neighbours", found.hottest_item_neighbours)
    return Group(sizes, lookups, ran_on(bench.machine))


def engines_card(bench: EnginesBench) -> RenderableType:
    """What `bench engines` found, for people: the figures, then their ratios to the reference's."""
    from rich.console import Group

    tables = [
        _speeds(f"{bench.rounds} rounds", bench.engines),
        _speeds("by the reference's", bench.ratios_to_reference),
    ]
    return Group(*tables, ran_on(bench.machine))


def _speeds(title: str, speeds: Mapping[str, Speed]) -> Table:
    """A row for each figure, a column for each engine."""
    table = figures(title, *speeds)
    columns = [speed.model_dump() for speed in speeds.values()]
    for name, first in columns[0].items():
        for part in first if isinstance(first, dict) else [None]:
            cells = [column[name][part] if part else column[name] for column in columns]
            label = name.replace("_per_s", "/s").replace("_", " ") + (f", {part} at once" if part else "")
            table.add_row(label, *("" if cell is None else f"{cell:,.4g}" for cell in cells))
    return table


def parity_card(bench: ParityBench) -> RenderableType:
    """What `bench parity` found, for people."""
    from rich.console import Group
    from rich.text import Text

    table = figures(
        f"{bench.prompts} prompts", "expectation off by", "at most", "same texts", "company moves log-odds by"
    )
    for name, found in bench.engines.items():
        table.add_row(
            name,
            f"{found.expectation_difference:.4f}",
            f"{found.largest_difference:.3f}",
            f"{found.same_texts:.0%}",
            f"{found.company:.5f}",
        )
    return Group(table, Text("Beside the reference in fp32."), ran_on(bench.machine))


def _lookup_row(table: Table, name: str, took: Latency) -> None:
    times = (took.median_ms, took.p95_ms, took.max_ms)
    table.add_row(name, f"{took.lookups:,}", *(f"{each:.2f}" for each in times))
