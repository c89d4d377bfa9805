"""Imported profiles stand in where there is nothing else, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from whylike.agents.standins import imported, rated
from whylike.memory.importers.exp3rt import ADAPTER_VERSION
from whylike.memory.store import Store
from whylike.records import History, Profile, Rated, Review, Side
from whylike.settings import Settings

NOBODY = History(user_id="ann", item_id="lute", before=9)
REVIEW = Review(review_id="r", user_id="ben", item_id="lute", rating=2, title="", text="Dull.", timestamp=3, helpful=0)


def profile(side: Side, subject_id: str, average: float | None) -> Profile:
    return Profile(
        side=side, subject_id=subject_id, likes=("jokes",), dislikes=(), adapter_version=ADAPTER_VERSION, source="",
        average=average,
    )  # fmt: skip


def test_only_a_side_without_reviews_has_a_stand_in(tmp_path: Path):
    both = [profile(Side.USER, "ann", 4.0), profile(Side.ITEM, "lute", 3.0)]
    with Store.open(Settings(store=tmp_path)) as store:
        store.add_profiles(both)
        assert list(imported(store, NOBODY)) == [Side.USER, Side.ITEM]
        assert list(imported(store, NOBODY.model_copy(update={"item_reviews": (REVIEW,)}))) == [Side.USER]
        assert imported(store, NOBODY.model_copy(update={"user_id": "eve", "item_id": "harp"})) == {}


def test_only_a_side_without_ratings_takes_the_average_of_its_stand_in():
    stand_ins = {Side.USER: profile(Side.USER, "ann", 4.0), Side.ITEM: profile(Side.ITEM, "lute", 3.0)}
    known = NOBODY.model_copy(update={"item_rated": Rated(count=1, average=2.0)})
    found = rated(known, stand_ins, 7)
    assert found.user_rated == Rated(count=7, average=4.0)
    assert found.item_rated == known.item_rated
    assert rated(NOBODY, {Side.USER: profile(Side.USER, "ann", None)}, 7) == NOBODY
