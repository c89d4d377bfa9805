"""Invented reviews, and the measuring of how they are ingested and looked up."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from whylike.errors import StoreError, WhylikeError
from whylike.evaluation import ingest_child
from whylike.evaluation.ingesting import Lookups, bench_ingest
from whylike.evaluation.synthetic import SPAN, START, Crowd, item_id, user_id, write_reviews
from whylike.memory.ingest import ingest
from whylike.memory.store import Store
from whylike.settings import Settings

CROWD = Crowd(users=50, items=20)


def rows_of(file: Path) -> list[dict[str, object]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_invented_reviews_can_all_be_taken(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl.gz"
    news = []
    write_reviews(file, 2500, CROWD, lambda done, total: news.append((done, total)))
    assert news[-1] == (2500, 2500)
    with Store.open(Settings(store=tmp_path / "store")) as store:
        report = ingest(store, file).reviews
    assert (report.rows, report.rejected, report.reviews_added) == (2500, 0, 2500)


def test_a_seed_gives_the_same_reviews_and_another_seed_others(tmp_path: Path) -> None:
    made = []
    for name, crowd in (("a", CROWD), ("b", CROWD), ("c", CROWD.model_copy(update={"seed": 1}))):
        write_reviews(tmp_path / name, 100, crowd)
        made.append(rows_of(tmp_path / name))
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_some_are_popular_texts_vary_and_dates_are_within_five_years(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl.gz"
    write_reviews(file, 5000, CROWD)
    rows = rows_of(file)
    counted = Counter(row["item_id"] for row in rows)
    assert counted.most_common(1)[0][0] == item_id(0)
    assert counted[item_id(0)] > 5 * counted[item_id(19)] > 0
    words = sorted(len(str(row["text"]).split()) for row in rows)
    assert words[0] >= 1
    assert 30 < words[2500] < 50
    assert words[-1] > 400
    times = [row["timestamp"] for row in rows]
    assert min(times) >= START
    assert max(times) < START + SPAN
    assert max(times) - min(times) > SPAN * 0.9
    assert {row["rating"] for row in rows} == {1, 2, 3, 4, 5}


def test_pairs_are_of_the_same_crowd() -> None:
    pairs = CROWD.pairs(1000)
    assert pairs == CROWD.pairs(1000)
    assert {user for user, _ in pairs} <= {user_id(rank) for rank in range(50)}
    assert Counter(item for _, item in pairs).most_common(1)[0][0] == item_id(0)


def test_the_benchmark_measures_three_sizes_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Invented reviews must not get into a real database.
    monkeypatch.setenv("WHYLIKE_DATABASE_URL", "postgresql+psycopg://nobody@localhost/real")
    news = []
    bench = bench_ingest(600, CROWD, tmp_path, lambda *told: news.append(told))
    assert [size.rows for size in bench.sizes] == [60, 200, 600]
    for size in bench.sizes:
        assert 0 < size.start_mib <= size.peak_mib < 1000
        assert size.rows_per_s > 0
        assert 0 < size.file_mib < size.store_mib
    found = bench.history
    assert found.hottest_item_reviews > 600 / 20
    assert found.busiest_user_reviews > 600 / 50
    for took in (getattr(found, part) for part in Lookups.model_fields if not part.endswith("_reviews")):
        assert 0 < took.median_ms <= took.p95_ms <= took.max_ms
    assert ("ingesting 600 reviews", 600, 600) in news
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="Not a directory; make room, or name another folder with --store"):
        bench_ingest(10, CROWD, tmp_path / "file")


def test_the_measured_process_tells_its_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest_child.main(tmp_path / "no-such-file", tmp_path / "store") == 1
    (told,) = capsys.readouterr().out.splitlines()
    assert "no-such-file" in json.loads(told)["error"]


def test_the_peak_is_in_mib() -> None:
    before = ingest_child.peak_mib()
    ballast = b"x" * (200 * 2**20)
    assert ingest_child.peak_mib() >= max(before, 200)
    del ballast


def test_a_setting_that_is_not_allowed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYLIKE_BATCH", "many")
    with pytest.raises(WhylikeError, match="WHYLIKE_BATCH"):
        bench_ingest(10, CROWD, tmp_path)
    assert list(tmp_path.iterdir()) == []
