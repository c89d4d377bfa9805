"""Ingest into the real store: batches, rejects, reruns, and a kill in the middle."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from whylike.errors import InputError, StoreError, UsageError
from whylike.memory import ingest as ingest_module
from whylike.memory.ingest import FileReport, IngestReport, Progress, ingest
from whylike.memory.store import Store
from whylike.records import Item, RatingScale, Side
from whylike.settings import Settings

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def row(number: int, **changes: object) -> dict[str, object]:
    return {
        "user_id": f"u{number % 3}",
        "item_id": f"i{number % 5}",
        "rating": 1 + number % 5,
        "text": f"text {number}",
        "timestamp": 1000 + number,
        **changes,
    }


def lines(rows: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


@pytest.fixture
def here(tmp_path, database_url):
    return Settings(store=tmp_path / "store", database_url=database_url)


@pytest.fixture
def store(here):
    with Store.open(here) as opened:
        yield opened


@pytest.fixture
def reviews(tmp_path):
    """Ten good reviews and two bad rows."""
    path = tmp_path / "reviews.jsonl"
    path.write_bytes(lines([row(number) for number in range(10)] + [row(10, rating=9)]) + b"broken\n")
    return path


def rejects_in(store: Store) -> list[Path]:
    return sorted((store.folder / "rejects").glob("*"))


def test_what_is_read_added_and_rejected(store, reviews):
    report = ingest(store, reviews)
    assert (report.reviews.rows, report.reviews.rejected) == (12, 2)
    assert (report.reviews.reviews, report.reviews.reviews_added, report.reviews.present) == (10, 10, 0)
    assert report.scale == store.scale == RatingScale()
    assert report.items is None
    assert report.reviews.format == "jsonl"
    assert report.reviews.seen.startswith("whylike's own reviews (JSON Lines; user_id,")
    assert store.counts().reviews == 10
    assert store.user_reviews("u1", 10)[-1].text == "text 1"
    assert IngestReport.model_validate_json(report.model_dump_json()) == report


def test_the_rejects_file(store, reviews):
    (rejects,) = [ingest(store, reviews).reviews.rejects]
    assert rejects_in(store) == [rejects]
    assert rejects.name.startswith("reviews.jsonl-")
    assert [json.loads(line) for line in rejects.read_text().splitlines()] == [
        {
            "line": 11,
            "reason": "rating 9 is not on the scale 1:5, whose values are 1, 2, 3, 4, 5",
            "row": json.dumps(row(10, rating=9)),
        },
        {
            "line": 12,
            "reason": "the row is not valid JSON (expecting value at character 1); write one object a line",
            "row": "broken",
        },
    ]


def test_a_second_run_changes_nothing(store, reviews):
    first = ingest(store, reviews)
    before = (first.reviews.rejects.read_bytes(), store.counts())
    second = ingest(store, reviews)
    assert (second.reviews.reviews_added, second.reviews.present) == (0, 10)
    assert (second.reviews.rejects.read_bytes(), store.counts()) == before
    assert len(rejects_in(store)) == 1


def test_a_mended_file_leaves_no_rejects(store, reviews):
    ingest(store, reviews)
    reviews.write_bytes(lines([row(number) for number in range(11)]))
    report = ingest(store, reviews)
    assert (report.reviews.rejects, report.reviews.reviews_added) == (None, 1)
    assert rejects_in(store) == []


def test_files_of_one_name_have_their_own_rejects(store, reviews, tmp_path):
    other = tmp_path / "other" / reviews.name
    other.parent.mkdir()
    other.write_bytes(reviews.read_bytes())
    ingest(store, reviews)
    ingest(store, other)
    assert len(rejects_in(store)) == 2


def test_strict_stops_at_the_first_bad_row_and_keeps_the_batches_before(store, reviews):
    with pytest.raises(InputError) as caught:
        ingest(store, reviews, strict=True, batch=4)
    assert str(caught.value) == f"{reviews}, line 11: rating 9 is not on the scale 1:5, whose values are 1, 2, 3, 4, 5"
    assert store.counts().reviews == 8
    assert rejects_in(store) == []


def test_items_come_with_their_reviews(store, reviews, tmp_path):
    items = tmp_path / "items.csv.gz"
    items.write_bytes(gzip.compress(b"item_id;title;categories\ni0;Zero;a|b\n;nothing;\n"))
    report = ingest(store, reviews, items_file=items)
    assert (report.items.rows, report.items.items, report.items.rejected) == (2, 1, 1)
    assert report.items.rejects.name.startswith("items.csv.gz-")
    assert store.item("i0") == Item(item_id="i0", title="Zero", categories=("a", "b"))
    assert store.item("i1") == Item(item_id="i1")


def test_a_bad_items_file_stops_before_anything_is_written(store, reviews, tmp_path):
    with pytest.raises(InputError, match=r"missing.csv does not exist"):
        ingest(store, reviews, items_file=tmp_path / "missing.csv")
    assert store.counts().reviews == 0


def test_each_batch_is_one_transaction_and_reports_progress(store, reviews, monkeypatch):
    sizes: list[int] = []
    seen: list[Progress] = []
    add = store.add_reviews
    monkeypatch.setattr(store, "add_reviews", lambda new, **how: sizes.append(len(new)) or add(new, **how))
    ingest(store, reviews, batch=5, progress=seen.append)
    assert sizes == [5, 5, 0]
    total = reviews.stat().st_size
    assert [(each.rows, each.rejected, each.total) for each in seen] == [(5, 0, total), (10, 0, total), (12, 2, total)]
    assert 0 < seen[0].done < seen[1].done < seen[2].done == total


def test_long_reviews_make_small_batches(store, tmp_path, monkeypatch):
    """Or ten thousand reviews of 100,000 words each would be held at once."""
    monkeypatch.setattr(ingest_module, "_CHARACTERS", 1000)
    path = tmp_path / "long.jsonl"
    path.write_bytes(lines([row(number, text="x" * (1 if number % 5 else 700)) for number in range(20)]))
    sizes: list[int] = []
    seen: list[Progress] = []
    add = store.add_reviews
    monkeypatch.setattr(store, "add_reviews", lambda new, **how: sizes.append(len(new)) or add(new, **how))
    assert ingest(store, path, progress=seen.append).reviews.reviews_added == 20
    assert sizes == [6, 10, 4]
    assert [each.rows for each in seen] == [6, 16, 20]


def test_progress_is_told_within_a_batch(store, reviews, monkeypatch):
    monkeypatch.setattr(ingest_module, "_NEWS", 5)
    seen: list[Progress] = []
    ingest(store, reviews, batch=8, progress=seen.append)
    assert [(each.rows, each.rejected) for each in seen] == [(5, 0), (8, 0), (12, 2)]


def test_a_file_that_was_cut_keeps_the_batches_before(store, tmp_path):
    path = tmp_path / "cut.jsonl.gz"
    rows = [row(number, text=str(pow(3, number, 10**300 + 7))) for number in range(5000)]
    path.write_bytes(gzip.compress(lines([row(0, rating=9), *rows]))[:-1000])
    with pytest.raises(InputError, match="the gzip data ends early"):
        ingest(store, path, batch=1000)
    assert store.counts().reviews >= 2999
    assert rejects_in(store) == []


def test_the_scale_is_settled_by_the_first(store, reviews, tmp_path):
    ten = RatingScale(minimum=1, maximum=10)
    assert ingest(store, reviews, scale=ten).scale == ten
    assert ingest(store, reviews).reviews.rejected == 1  # the store's scale, without being asked for again
    with pytest.raises(UsageError, match="1:10, not 1:5"):
        ingest(store, reviews, scale=RatingScale())
    yelp = tmp_path / "yelp.json"
    yelp.write_text('{"user_id": "u", "business_id": "b", "stars": 5, "text": "fine", "date": "2014-01-01"}')
    with pytest.raises(UsageError, match="1:10, not 1:5"):
        ingest(store, yelp)


def test_a_fixed_scale_cannot_be_changed(store, tmp_path):
    yelp = tmp_path / "yelp.json"
    yelp.write_text('{"user_id": "u", "business_id": "b", "stars": 5, "text": "fine", "date": "2014-01-01"}')
    with pytest.raises(UsageError) as caught:
        ingest(store, yelp, scale=RatingScale(minimum=1, maximum=10))
    assert str(caught.value) == f"{yelp} holds Yelp reviews, which are rated 1:5, not 1:10; leave out --scale"
    assert ingest(store, yelp, scale=RatingScale()).reviews.reviews_added == 1


def test_a_file_on_another_scale_is_refused_before_the_scale_is_settled(store, tmp_path):
    path = tmp_path / "ten.jsonl"
    path.write_bytes(lines([row(number, rating=10 - number % 7) for number in range(20)]))
    with pytest.raises(InputError) as caught:
        ingest(store, path)
    assert str(caught.value) == (
        f"{path}, line 1: rating 10 is not on the scale 1:5, whose values are 1, 2, 3, 4, 5, "
        "and so are 15 of the first 20 rows; say which scale it is with --scale MIN:MAX[:STEP]"
    )
    assert store.counts().reviews == 0
    assert ingest(store, path, scale=RatingScale(minimum=1, maximum=10)).reviews.reviews_added == 20
    assert ingest(store, path).reviews.present == 20  # the store's scale is known now


def test_a_few_bad_ratings_are_no_other_scale(store, tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_bytes(lines([row(number, rating=9) for number in range(3)]) + b"broken\n")
    report = ingest(store, path).reviews
    assert (report.rejected, report.off_scale) == (4, 3)


@pytest.mark.parametrize("strict", [False, True])
def test_a_file_of_which_nothing_was_taken_settles_no_scale(store, tmp_path, strict):
    path = tmp_path / "ten.jsonl"
    path.write_bytes(lines([row(number, rating=6 + number % 5) for number in range(7)]))
    if strict:
        with pytest.raises(InputError, match="is not on the scale 1:5"):
            ingest(store, path, strict=True)
    else:
        assert ingest(store, path).reviews.rejected == 7
    ten = RatingScale(minimum=1, maximum=10)
    assert ingest(store, path, scale=ten).reviews.reviews_added == 7
    assert store.scale == ten


@pytest.fixture
def numbered(tmp_path):
    """Makes files that number their reviews from 1."""

    def make(name, user, count=3):
        path = tmp_path / name
        rows = "".join(f"{number},{user},i{number},4,said by {user},{number}\n" for number in range(1, count + 1))
        path.write_text(f"review_id,user_id,item_id,rating,text,timestamp\n{rows}")
        return path

    return make


@pytest.mark.parametrize("batch", [1, 2, 10])
def test_a_review_whose_id_another_has_is_rejected(store, numbered, batch):
    assert ingest(store, numbered("a.csv", "ann"), batch=batch).reviews.reviews_added == 3
    b = numbered("b.csv", "bob", 4)
    report = ingest(store, b, batch=batch).reviews
    assert (report.rows, report.rejected, report.reviews, report.reviews_added, report.present) == (4, 3, 1, 1, 0)
    assert [json.loads(line) for line in report.rejects.read_text().splitlines()] == [
        {
            "line": number + 1,
            "reason": f"review_id '{number}' belongs to another review, of item 'i{number}' "
            "on 1 January 1970; give each review an id of its own, for example with the name of its file before it, "
            "or leave the column out",
            "row": f"{number},bob,i{number},4,said by bob,{number}",
        }
        for number in (1, 2, 3)
    ]
    before = store.counts(), report.rejects.read_bytes()
    again = ingest(store, b, batch=batch).reviews
    assert (again.rejected, again.reviews_added, again.present) == (3, 0, 1)
    assert (store.counts(), again.rejects.read_bytes()) == before
    with pytest.raises(InputError, match=r"b\.csv, line 2: review_id '1' belongs to another review"):
        ingest(store, b, strict=True)


@pytest.mark.parametrize("batch", [1, 10])
def test_two_reviews_of_one_file_with_one_id(store, tmp_path, batch):
    path = tmp_path / "twice.jsonl"
    path.write_bytes(lines([row(number, review_id="same") for number in (1, 1, 2)]))
    for added in (1, 0):
        report = ingest(store, path, batch=batch).reviews
        assert (report.reviews_added, report.present, report.rejected) == (added, 2 - added, 1)
    assert [each.text for each in store.reviews(["same"])] == ["text 1"]


@pytest.mark.parametrize("batch", [1, 10])
def test_of_what_is_told_twice_the_last_counts(store, reviews, tmp_path, batch):
    items = tmp_path / "items.jsonl"
    items.write_bytes(lines([{"item_id": "i0", "title": "old"}, {"item_id": "i0", "title": "new"}]))
    assert ingest(store, reviews, items_file=items, batch=batch).items.items == 2
    assert store.item("i0").title == "new"


@pytest.mark.parametrize("batch", [1, 10])
def test_of_two_profiles_of_one_item_the_last_counts(store, tmp_path, batch):
    path = tmp_path / "test.json"
    pair = {"item_id": "i", "item_description": "Title: T", "user_persona": "[Like]\n- a", "score": "9"}
    path.write_text(json.dumps([pair | {"user_id": user, "item_synopsis": f"[Like]\n- {user}"} for user in "uv"]))
    ingest(store, path, batch=batch)
    assert store.latest_profile(Side.ITEM, "i").likes == ("v",)


def test_exp3rt_pairs_are_no_reviews(store, tmp_path):
    persona = "[Like]\n- Puzzles\n\n[Dislike]\n- Noise\n\n[Average Rating]\n{}"
    path = tmp_path / "test.json"
    pair = {"user_id": "u", "item_description": "Title: T\nGenres: Drama", "score": "9"}
    pairs = [
        pair | {"item_id": f"i{number}", "user_persona": persona.format(5.0), "item_synopsis": persona.format(number)}
        for number in (1, 2)
    ]
    path.write_text(json.dumps(pairs))
    report = ingest(store, path)
    assert (report.reviews.rows, report.reviews.pairs, report.reviews.pairs_added) == (2, 2, 2)
    assert (report.reviews.items, report.reviews.profiles) == (2, 4)
    assert (store.counts().reviews, store.counts().items, store.counts().profiles) == (0, 2, 3)
    profile = store.latest_profile(Side.ITEM, "i2")
    assert (profile.likes, profile.dislikes, profile.average) == (("Puzzles",), ("Noise",), 2.0)
    assert [pair.source for pair in store.rated_pairs()] == ["exp3rt:test.json"] * 2
    again = ingest(store, path)
    assert (again.reviews.pairs_added, again.reviews.present) == (0, 2)
    assert store.counts().profiles == 3


def test_rejects_that_cannot_be_written(store, reviews):
    (store.folder / "rejects").write_text("in the way")
    with pytest.raises(StoreError, match=r"the rejected rows cannot be written to .*rejects: .*; make room or mend"):
        ingest(store, reviews)


KILLED = """
import os, signal, sys
from pathlib import Path
from whylike.memory.ingest import ingest
from whylike.memory.store import Store
from whylike.settings import Settings

calls = 0
add = Store.add_reviews

def add_and_die(self, new, **how):
    global calls
    calls += 1
    if calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(self, new, **how)

Store.add_reviews = add_and_die
with Store.open(Settings.model_validate_json(sys.argv[1])) as store:
    ingest(store, Path(sys.argv[2]), batch=3)
"""


def test_a_killed_run_is_completed_by_the_next(tmp_path, here, store, reviews):
    reviews.write_bytes(b"broken first\n" + reviews.read_bytes())
    died = subprocess.run(
        [sys.executable, "-c", KILLED, here.model_dump_json(), str(reviews)],
        env=os.environ,
        check=False,
        capture_output=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert store.counts().reviews == 5
    assert rejects_in(store) == []
    report = ingest(store, reviews, batch=3)
    assert (report.reviews.reviews_added, report.reviews.present) == (5, 5)
    assert rejects_in(store) == [report.reviews.rejects]
    assert len(report.reviews.rejects.read_text().splitlines()) == report.reviews.rejected == 3
    with Store.open(Settings(store=tmp_path / "whole")) as whole:
        ingest(whole, reviews)
        assert whole.counts() == store.counts()
        for user in ("u0", "u1", "u2"):
            assert whole.user_reviews(user, 20) == store.user_reviews(user, 20)


@pytest.mark.realdata
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data is not at {REAL}")
def test_real_reviews_and_items(store):
    music = REAL / "digital_music"
    report = ingest(store, music / "reviews.jsonl.gz", items_file=music / "items.jsonl.gz")
    assert report.items == FileReport(
        file=music / "items.jsonl.gz", format="jsonl", seen=report.items.seen, rows=382, items=382
    )
    assert (report.reviews.rows, report.reviews.reviews_added, report.reviews.rejected) == (6908, 6908, 0)
    counts = store.counts()
    assert (counts.users, counts.items, counts.reviews) == (2490, 382, 6908)
    assert ingest(store, music / "reviews.jsonl.gz").reviews.present == 6908


def test_a_review_that_is_all_headline_is_taken(tmp_path, store):
    row = {"user_id": "u", "item_id": "i", "rating": 4, "text": "", "headline": "All said here", "timestamp": 5}
    file = tmp_path / "headline.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps({**row, "headline": ""}) + "\n")
    report = ingest(store, file)
    assert (report.reviews.reviews_added, report.reviews.rejected) == (1, 1)
    (review,) = store.user_reviews("u", 5)
    assert (review.title, review.text) == ("All said here", "All said here")
