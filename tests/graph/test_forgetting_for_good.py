"""What comes in again, or was begun before, once a user is forgotten: nothing of it brings them back."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest
from forgettable import NEEDLES, TEXT, WHO, keep, occasion, reason, theirs
from leftovers import left

from whylike.errors import UsageError
from whylike.graph.forgetting import forget
from whylike.memory.ingest import ingest
from whylike.memory.store import Store
from whylike.records import (
    Attitude,
    Preference,
    Profile,
    RatingScale,
    ReasonDecision,
    ReviewSummary,
    Side,
    SummaryAnnotation,
)
from whylike.settings import Settings


def test_what_was_begun_before_a_forgetting_is_not_kept_after_it(folder: Path) -> None:
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        forget(settings, store, WHO)
        profile = Profile(side=Side.ITEM, subject_id="ice", likes=(TEXT,), adapter_version="v")
        store.add_profiles([profile], ["own0"])
        store.add_profiles([profile.model_copy(update={"side": Side.USER, "subject_id": WHO})])
        assert store.keep_answer("k1", "reason", TEXT, "ann", "ice", made_of=["own0"]) == TEXT
        assert store.keep_answer("k2", "reason", TEXT, WHO, "ice") == TEXT
        assert store.answer("k1") is store.answer("k2") is None
        keep(store, "own0", SummaryAnnotation(item_id="ice", text=TEXT, rating=2))
        store.keep_reason("live", reason(TEXT), "t", occasion("ann", "own0"))
        with pytest.raises(UsageError, match="asked to be forgotten"):
            store.state_preference(
                Preference(preference_id="p", user_id=WHO, attitude=Attitude.LIKE, about=TEXT, stated_at=1)
            )
        with pytest.raises(UsageError, match="asked to be forgotten"):
            store.begin_conversation("again", WHO)
        store.add_summaries([ReviewSummary(review_id="own0", likes=(TEXT,), adapter_version="v")])
        decision = ReasonDecision(
            review_id="x", user_id="ann", item_id="ice", outcome="kept", sampler="s", reward="r", tau=0, tries=0
        )
        store.decide("a", decision.model_copy(update={"read": ("own0",)}))
        store.decide("b", decision.model_copy(update={"user_id": WHO}))
        assert store.decisions() == {}
        assert not left(folder, NEEDLES)
        store.decide("c", decision)
        assert set(store.decisions()) == {"c"}


def test_a_file_that_is_read_again_brings_nobody_back(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "again.jsonl"
    rows = [review.model_dump() for review in theirs()]
    rows += [rows[0] | {"user_id": "ann", "review_id": "hers"}, rows[0] | {"rating": 77}]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        assert ingest(store, file, scale=RatingScale()).reviews.reviews_added == 4
        forget(settings, store, WHO)
        report = ingest(store, file, scale=RatingScale()).reviews
        assert (report.reviews, report.reviews_added, report.rejected, report.present) == (1, 0, 4, 1)
        assert report.rejects
        told = [json.loads(line) for line in report.rejects.read_text().splitlines()]
        assert sum("asked to be forgotten on " in entry["reason"] for entry in told) == 3
        assert all("`whylike profile readmit" in entry["reason"] or entry["line"] == 5 for entry in told)
        assert not left(folder, NEEDLES[:1])
        assert not store.has_user(WHO)
        assert store.readmit(WHO)
        assert not store.readmit(WHO)
        assert ingest(store, file, scale=RatingScale()).reviews.reviews_added == 3
        forget(settings, store, WHO)
        assert store.forgotten_at(WHO)
        assert not left(folder, NEEDLES[:1])


@pytest.mark.parametrize(
    "lines",
    [
        '{"user_id": "g\\u00fcl-zorblatt", "item_id": "i", "rating": 99, "text": "Zibberish.", "timestamp": 1}',
        '{"text": "Zibberish.", "rating": 99, "user_id":\t" gül-zorblatt ", "item_id": "i", "timestamp": 1}',
        "user_id,item_id,rating,text,timestamp\ngül-zorblatt,i,99,Zibberish.,1",
        'user_id,item_id,rating,text,timestamp\n"gül-zorblatt",i,99,"Zibberish, so.",1',
        "user_id\titem_id\trating\ttext\ttimestamp\ngül-zorblatt\ti\t99\tZibberish.\t1",
        "{'user_id': 'gül-zorblatt', 'item_id': 'i', 'rating': 99, 'text': 'Zibberish.', 'timestamp': 1}",
    ],
)
def test_a_rejected_row_goes_from_a_file_of_any_format(folder: Path, tmp_path: Path, lines: str) -> None:
    file = tmp_path / "rows"
    file.write_text(f"{lines}\n")
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        assert ingest(store, file, scale=RatingScale()).reviews.rejected == 1
        assert left(folder, ["zibberish"])
        store.add_reviews(theirs())
        forget(settings, store, WHO)
        assert not left(folder, NEEDLES)
        assert ingest(store, file, scale=RatingScale()).reviews.rejected == 1
        assert not left(folder, NEEDLES)


def test_an_id_with_quotation_marks_is_found_in_rejected_rows(folder: Path, tmp_path: Path) -> None:
    who = 'o\'zorblatt "zib", so'
    row = {"user_id": who, "item_id": "i", "rating": 99, "text": "Fine.", "timestamp": 1}
    (tmp_path / "json").write_text(json.dumps(row))
    with (tmp_path / "csv").open("w") as file:
        csv.writer(file).writerows([row.keys(), row.values()])
    with Store.open(Settings(store=folder)) as store:
        store.add_reviews([theirs()[0].model_copy(update={"user_id": who})])
        for name in ("json", "csv"):
            ingest(store, tmp_path / name, scale=RatingScale())
        assert len(left(folder / "rejects", ["zorblatt"])) == 2
        forget(Settings(store=folder), store, who)
        assert not left(folder, ["zorblatt"])


def test_a_hostile_row_is_looked_through_in_no_time(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good = json.dumps({"user_id": "ann", "item_id": "i", "rating": 3, "text": "Fine.", "timestamp": 1})
    file.write_text(good + "\n" + '"' + '\\"' * 200_000 + "\n")
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        forget(settings, store, WHO)
        began = time.process_time()
        assert ingest(store, file).reviews.rejected == 1
        assert time.process_time() - began < 5
