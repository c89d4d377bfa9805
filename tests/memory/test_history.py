"""The one source of evidence lets nothing later, and nothing of the pair itself, through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from whylike.memory.history import general, history
from whylike.memory.store import Store
from whylike.records import History, ItemProfile, Rated, Review
from whylike.settings import Settings

USERS = ("u", "v", "w", "x", "y", "z")
ITEMS = ("i", "j", "k")
TIMES = (-3, 0, 1, 2, 3, 10**9)

reviews = st.lists(
    st.tuples(
        st.sampled_from(USERS), st.sampled_from(ITEMS), st.sampled_from(TIMES), st.sampled_from([0.5, 1.0, 3.3, 5.0])
    ),
    max_size=40,
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with ExitStack() as stack:
        url = None
        if request.param == "postgresql":
            url = stack.enter_context(request.getfixturevalue("new_database")())
        yield stack.enter_context(Store.open(Settings(store=tmp_path_factory.mktemp("history"), database_url=url)))


fresh = count()


def made(rows: list[tuple[str, str, int, float]], prefix: str, start: int = 0) -> list[Review]:
    """Reviews of users and items that no other example has."""
    return [
        Review(
            review_id=f"{prefix}{(n * 7) % 25:02d}-{n + start}",
            helpful=(n * 5) % 4,
            user_id=prefix + user,
            item_id=prefix + item,
            rating=rating,
            text=f"review {n}",
            timestamp=timestamp,
        )
        for n, (user, item, timestamp, rating) in enumerate(rows)
    ]


def rated(ratings: list[float]) -> Rated:
    return Rated(count=len(ratings), average=sum(ratings) / len(ratings) if ratings else None)


def near(earlier: list[Review], user_id: str, item_id: str) -> list[str]:
    """The neighbours by their definition: the cosine of vectors over all items, less the mean, missing ones zero."""
    ratings = defaultdict(list)
    for each in earlier:
        if (each.user_id, each.item_id) != (user_id, item_id):
            ratings[each.user_id, each.item_id].append(each.rating)
    names = sorted({name for name, _ in ratings})
    items = sorted({name for _, name in ratings})
    vectors = {}
    for name in names:
        row = np.array([np.mean(ratings[name, item]) if (name, item) in ratings else np.nan for item in items])
        vectors[name] = np.nan_to_num(row - np.nanmean(row))
    close = {}
    for name in names:
        lengths = np.linalg.norm(vectors[name]) * np.linalg.norm(vectors.get(user_id, np.zeros(len(items))))
        if name != user_id and (name, item_id) in ratings and lengths > 1e-6:
            close[name] = round(float(vectors[name] @ vectors[user_id] / lengths), 6)
    return sorted((name for name in close if close[name] > 0), key=lambda name: (-close[name], name))[:3]


def brute_force(
    given_reviews: list[Review], user_id: str, item_id: str, before: int, limit: int, *, item_profile: ItemProfile
) -> History:
    """The history by its definition."""
    earlier = [each for each in given_reviews if each.timestamp < before]
    of_user = [each for each in earlier if each.user_id == user_id and each.item_id != item_id]
    of_item = [each for each in earlier if each.item_id == item_id and each.user_id != user_id]

    def newest(side: list[Review]) -> tuple[Review, ...]:
        return tuple(sorted(side, key=lambda each: (-each.timestamp, each.review_id))[:limit])

    chosen = newest(of_item)
    ratings = tuple(each.rating for each in chosen)
    if item_profile is ItemProfile.HELPFUL:
        chosen = tuple(sorted(of_item, key=lambda each: (-each.helpful, -each.timestamp, each.review_id))[:limit])
    if item_profile is ItemProfile.NEIGHBOURS:
        names = near(earlier, user_id, item_id)
        by_them = newest([each for each in of_item if each.user_id in names])
        chosen = tuple(sorted(by_them, key=lambda each: names.index(each.user_id))) or chosen
        item_profile = item_profile if names else ItemProfile.ALL
    return History(
        user_id=user_id,
        item_id=item_id,
        before=before,
        user_reviews=newest(of_user),
        item_reviews=chosen,
        item_profile=item_profile,
        item_newest=ratings,
        user_rated=rated([each.rating for each in of_user]),
        item_rated=rated([each.rating for each in of_item]),
    )


def rounded(answer: History) -> History:
    """The answer without the last bits of its averages, which depend on the order of adding up."""
    return answer.model_copy(
        update={
            side: Rated(
                count=getattr(answer, side).count,
                average=None if getattr(answer, side).average is None else round(getattr(answer, side).average, 9),
            )
            for side in ("user_rated", "item_rated")
        }
    )


@settings(max_examples=150, deadline=None)
@given(reviews, st.sampled_from((*TIMES, 10**10)), st.integers(1, 12), st.sampled_from(ItemProfile))
def test_the_history_is_what_its_definition_says(
    store: Store, rows: list[tuple[str, str, int, float]], before: int, limit: int, item_profile: ItemProfile
) -> None:
    prefix = f"d{next(fresh)}-"
    everything = made(rows, prefix)
    store.add_reviews(everything)
    user, item = prefix + "u", prefix + "i"
    answer = history(store, user, item, before, limit, item_profile=item_profile)
    assert rounded(answer) == rounded(brute_force(everything, user, item, before, limit, item_profile=item_profile))
    for each in (*answer.user_reviews, *answer.item_reviews):
        assert each.timestamp < before
        assert (each.user_id, each.item_id) != (user, item)


@settings(max_examples=100, deadline=None)
@given(reviews, reviews, st.sampled_from(TIMES), st.sampled_from(ItemProfile))
def test_no_review_at_or_after_the_time_and_none_of_the_pair_changes_the_answer(
    store: Store,
    rows: list[tuple[str, str, int, float]],
    more: list[tuple[str, str, int, float]],
    before: int,
    item_profile: ItemProfile,
) -> None:
    prefix = f"l{next(fresh)}-"
    user, item = prefix + "u", prefix + "i"
    store.add_reviews(made(rows, prefix))
    answer = history(store, user, item, before, item_profile=item_profile)
    later = [
        (name, of, timestamp if (name, of) == ("u", "i") else max(timestamp, before), rating)
        for name, of, timestamp, rating in more
    ]
    store.add_reviews(made(later, prefix, start=1000))
    assert history(store, user, item, before, item_profile=item_profile) == answer


def test_the_rating_to_predict_is_in_nothing_even_where_it_is_earlier(store: Store) -> None:
    store.add_reviews(made([("u", "i", 1, 1.0), ("u", "i", 2, 5.0)], "target-"))
    answer = history(store, "target-u", "target-i", 10)
    assert answer == History(user_id="target-u", item_id="target-i", before=10)


def test_the_general_mean_is_of_earlier_ratings_without_the_pairs_own(tmp_path: Path, database_url: str | None) -> None:
    rows = [("u", "i", 1, 5.0), ("u", "j", 2, 2.0), ("v", "i", 3, 3.0), ("v", "j", 9, 5.0)]
    rows += [("u", f"later{n}", 20 + n, 5.0) for n in range(5)]
    with Store.open(Settings(store=tmp_path, database_url=database_url)) as store:
        store.add_reviews(made(rows, ""))
        assert general(store, "u", "i", 5) == Rated(count=2, average=2.5)
        assert general(store, "u", "i", 1) == Rated()
        assert general(store, "w", "i", 5) == Rated(count=3, average=10 / 3)


def test_neighbours_are_who_rates_alike_and_only_by_what_came_before(store: Store) -> None:
    rows = [("u", "j", 1, 5.0), ("u", "k", 1, 1.0)]
    rows += [("v", "j", 1, 5.0), ("v", "k", 1, 1.0), ("v", "i", 2, 4.0)]  # as the user does
    rows += [("w", "j", 1, 1.0), ("w", "k", 1, 5.0), ("w", "i", 3, 2.0)]  # the other way round
    rows += [("x", "i", 3, 3.0), ("x", "l", 1, 5.0), ("x", "m", 1, 1.0)]  # nothing in common ...
    rows += [("u", "l", 9, 5.0)]  # ... until later
    rows += [("y", "i", 3, 1.0), ("y", "j", 9, 5.0), ("y", "k", 9, 1.0)]  # as the user does, but later
    store.add_reviews(made(rows, "near-"))
    asked = store, "near-u", "near-i"
    found = history(*asked, 9, item_profile=ItemProfile.NEIGHBOURS)
    assert [each.user_id for each in found.item_reviews] == ["near-v"]
    assert found.item_profile is ItemProfile.NEIGHBOURS
    assert found.item_newest == tuple(each.rating for each in history(*asked, 9).item_reviews)
    assert [each.user_id for each in history(*asked, 10, item_profile=ItemProfile.NEIGHBOURS).item_reviews] == [
        "near-v",
        "near-y",
        "near-x",
    ]
    nobody = history(*asked, 2, item_profile=ItemProfile.NEIGHBOURS)
    assert nobody == history(*asked, 2), "before anybody rated it"


def test_nobody_knows_of_strangers(store: Store) -> None:
    assert history(store, "nobody", "nothing", 10) == History(user_id="nobody", item_id="nothing", before=10)


def test_the_averages_and_the_order_come_from_the_indexes(tmp_path: Path) -> None:
    """Without them a history takes seconds at a million reviews."""
    with Store.open(Settings(store=tmp_path)) as store:
        statements: list[tuple[str, object]] = []
        reader = store.database._reader
        event.listen(
            reader, "before_cursor_execute", lambda c, cursor, sql, values, *_: statements.append((sql, values))
        )
        history(store, "u", "i", 10)
        asked = [(sql, values) for sql, values in statements if sql.startswith("SELECT")]
        with store.database.read() as connection:
            plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all() for sql, values in asked]
    assert [plan[0][3] for plan in plans] == [
        "SEARCH reviews USING INDEX reviews_of_item (item_id=? AND timestamp<?)",
        "SEARCH reviews USING INDEX reviews_of_user (user_id=? AND timestamp<?)",
        "SEARCH reviews USING COVERING INDEX reviews_of_user (user_id=? AND timestamp<?)",
        "SEARCH reviews USING COVERING INDEX reviews_of_item (item_id=? AND timestamp<?)",
        "SEARCH stated_preferences USING INDEX stated_preferences_of_user (user_id=? AND stated_at<?)",
    ]


def test_of_a_hot_item_only_the_newest_raters_are_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whylike.memory.neighbours.RATERS", 2)
    rows = [(user, item, time, rating) for time, user in enumerate("uvwx") for item, rating in (("j", 5.0), ("k", 1.0))]
    rows += [(user, "i", time, 4.0) for time, user in enumerate("vwx", start=5)]
    rows += [("z", "i", 12, 4.0)]  # too late to be one of them
    store.add_reviews(made(rows, "hot-"))
    found = history(store, "hot-u", "hot-i", 10, item_profile=ItemProfile.NEIGHBOURS)
    assert [each.user_id for each in found.item_reviews] == ["hot-w", "hot-x"]
