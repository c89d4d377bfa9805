"""How fast reviews go into a store, in how much memory, and how fast a pair's history comes out again.

One run ingests files of several sizes, each in a process of its own, to show whether memory grows with the file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import Field

from whylike.errors import StoreError, WhylikeError
from whylike.evaluation.ingest_child import own_settings
from whylike.evaluation.machine import MIB, Machine, machine
from whylike.evaluation.synthetic import SPAN, START, Crowd, item_id, user_id, write_reviews
from whylike.memory.history import history
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import ItemProfile, Record

PARTS = (10, 3, 1)
"""The files are these parts of the rows asked for."""
LOOKUPS = 1000
"""Histories looked up of random pairs."""
HOT_LOOKUPS = 100
"""Histories looked up of the hottest item, with random users, and of the busiest user, with random items."""


class Ingested(Record):
    """One file that was ingested."""

    rows: int
    file_mib: float = Field(description="Compressed")
    seconds: float
    rows_per_s: float
    start_mib: float = Field(description="Memory at the most before the first row was read")
    peak_mib: float = Field(description="Memory at the most when all was done")
    store_mib: float = Field(description="Size of the store on disk, after it was closed")


class Latency(Record):
    """How long lookups took."""

    lookups: int
    median_ms: float
    p95_ms: float
    max_ms: float


class Lookups(Record):
    """Histories from the largest store, all its reviews being earlier; its pages are in the system's cache."""

    random_pairs: Latency
    hottest_item: Latency
    busiest_user: Latency
    hottest_item_helpful: Latency
    hottest_item_neighbours: Latency
    hottest_item_reviews: int
    busiest_user_reviews: int


class IngestBench(Record):
    """The document that `whylike bench ingest --json` prints."""

    machine: Machine
    crowd: Crowd
    sizes: list[Ingested]
    history: Lookups


def bench_ingest(rows: int, crowd: Crowd, folder: Path | None = None, told: Told = lambda *_: None) -> IngestBench:
    """Measure ingest and history with invented reviews.

    Args:
        rows: Rows of the largest file; a million need about 1.5 GB of disk for a while.
        crowd: Who reviews what.
        folder: Where the files and stores are made and removed again; the system's temporary folder where it is None.
        told: Told of progress.

    Raises:
        StoreError: A file or a store cannot be written.
        WhylikeError: The process that ingests failed.
    """
    ran_on = machine()
    sizes: list[Ingested] = []
    try:
        for size in sorted({max(rows // part, 1) for part in PARTS}):
            with TemporaryDirectory(prefix="whylike-bench-", dir=folder, ignore_cleanup_errors=True) as made:
                store = Path(made) / "store"
                sizes.append(_ingested(size, crowd, store, told))
                if size == rows:
                    lookups = _lookups(crowd, store, told)
    except OSError as error:
        raise StoreError(
            f"the benchmark cannot write its files in {folder or 'the folder of temporary files'}: {error.strerror}; "
            f"make room, or name another folder with --store"
        ) from None
    return IngestBench(machine=ran_on, crowd=crowd, sizes=sizes, history=lookups)


def latency(seconds: Sequence[float]) -> Latency:
    """The median, the 95th percentile and the maximum of some times in seconds."""
    median, p95, most = np.percentile(np.asarray(seconds) * 1000, [50, 95, 100])
    return Latency(lookups=len(seconds), median_ms=_round(median), p95_ms=_round(p95), max_ms=_round(most))


def _ingested(rows: int, crowd: Crowd, store: Path, told: Told) -> Ingested:
    """Write a file, ingest it, remove it."""
    file = store.with_name("reviews.jsonl.gz")
    write_reviews(file, rows, crowd, lambda done, total: told(f"inventing {rows:,} reviews", done, total))
    file_size = file.stat().st_size
    result = _run(file, store, lambda done: told(f"ingesting {rows:,} reviews", done, rows))
    file.unlink()
    if result["added"] != rows:
        raise WhylikeError(
            f"of {rows:,} invented reviews {result['added']:,.0f} are in the store; report this as a bug"
        )
    return Ingested(
        rows=rows,
        file_mib=_round(file_size / MIB),
        seconds=_round(result["seconds"]),
        rows_per_s=round(rows / result["seconds"]),
        start_mib=_round(result["start_mib"]),
        peak_mib=_round(result["peak_mib"]),
        store_mib=_round(sum(each.stat().st_size for each in store.rglob("*") if each.is_file()) / MIB),
    )


def _run(file: Path, store: Path, progress: Callable[[int], None]) -> dict[str, float]:
    """Run the measured process and return its result."""
    command = [sys.executable, "-m", "whylike.evaluation.ingest_child", str(file), str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - this very package
        try:
            assert child.stdout is not None
            for line in child.stdout:
                news = json.loads(line)
                if "rows" in news:
                    progress(news["rows"])
                elif "error" in news:
                    raise StoreError(news["error"])
                else:
                    result: dict[str, float] = news["result"]
                    return result
        except BaseException:
            child.kill()
            raise
    raise WhylikeError(f"the process that ingests ended with status {child.returncode}; what it said stands above")


def _lookups(crowd: Crowd, folder: Path, told: Told) -> Lookups:
    """Time histories as of after the last review."""
    pairs = crowd.pairs(LOOKUPS + 2 * HOT_LOOKUPS)
    hot, busy = item_id(0), user_id(0)
    parts = {
        "random_pairs": pairs[:LOOKUPS],
        "hottest_item": [(user, hot) for user, _ in pairs[LOOKUPS:-HOT_LOOKUPS]],
        "busiest_user": [(busy, item) for _, item in pairs[-HOT_LOOKUPS:]],
    }
    chosen = {"hottest_item_helpful": ItemProfile.HELPFUL, "hottest_item_neighbours": ItemProfile.NEIGHBOURS}
    parts |= dict.fromkeys(chosen, parts["hottest_item"])
    took: dict[str, Latency] = {}
    with Store.open(own_settings(folder)) as store:
        for done, (part, asked) in enumerate(parts.items(), start=1):
            how = chosen.get(part, ItemProfile.ALL)
            took[part] = latency([_seconds(store, user, item, how) for user, item in asked])
            told("looking up histories", done, len(parts))
        both = history(store, busy, hot, START + SPAN)
    return Lookups(**took, hottest_item_reviews=both.item_rated.count, busiest_user_reviews=both.user_rated.count)


def _seconds(store: Store, user: str, item: str, chosen: ItemProfile) -> float:
    began = time.perf_counter()
    history(store, user, item, START + SPAN, item_profile=chosen)
    return time.perf_counter() - began


def _round(number: float) -> float:
    """Three digits that mean something."""
    return float(f"{number:.3g}") if number < 100 else float(round(number))  # noqa: PLR2004
