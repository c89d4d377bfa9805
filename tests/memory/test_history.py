"""The one source of evidence lets nothing later, and nothing of the pair itself, through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from whylike.memory.history import general, history
from whylike.memory.store import Store
from whylike.records import History, Rated, Review
from whylike.settings import Settings

USERS = ("u", "v", "w")
ITEMS = ("i", "j", "k")
TIMES = (-3, 0, 1, 2, 3, 10**9)

reviews = st.lists(
    st.tuples(
        st.sampled_from(USERS), st.sampled_from(ITEMS), st.sampled_from(TIMES), st.sampled_from([0.5, 1.0, 3.3, 5.0])
    ),
    max_size=25,
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


def brute_force(given_reviews: list[Review], user_id: str, item_id: str, before: int, limit: int) -> History:
    """The history by its definition."""
    earlier = [each for each in given_reviews if each.timestamp < before]
    of_user = [each for each in earlier if each.user_id == user_id and each.item_id != item_id]
    of_item = [each for each in earlier if each.item_id == item_id and each.user_id != user_id]

    def newest(side: list[Review]) -> tuple[Review, ...]:
        return tuple(sorted(side, key=lambda each: (-each.timestamp, each.review_id))[:limit])

    return History(
        user_id=user_id,
        item_id=item_id,
        before=before,
        user_reviews=newest(of_user),
        item_reviews=newest(of_item),
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
@given(reviews, st.sampled_from((*TIMES, 10**10)), st.integers(1, 12))
def test_the_history_is_what_its_definition_says(
    store: Store, rows: list[tuple[str, str, int, float]], before: int, limit: int
) -> None:
    prefix = f"d{next(fresh)}-"
    everything = made(rows, prefix)
    store.add_reviews(everything)
    user, item = prefix + "u", prefix + "i"
    answer = history(store, user, item, before, limit)
    assert rounded(answer) == rounded(brute_force(everything, user, item, before, limit))
    for each in (*answer.user_reviews, *answer.item_reviews):
        assert each.timestamp < before
        assert (each.user_id, each.item_id) != (user, item)


@settings(max_examples=100, deadline=None)
@given(reviews, reviews, st.sampled_from(TIMES))
def test_no_review_at_or_after_the_time_and_none_of_the_pair_changes_the_answer(
    store: Store, rows: list[tuple[str, str, int, float]], more: list[tuple[str, str, int, float]], before: int
) -> None:
    prefix = f"l{next(fresh)}-"
    user, item = prefix + "u", prefix + "i"
    store.add_reviews(made(rows, prefix))
    answer = history(store, user, item, before)
    later = [
        (name, of, timestamp if (name, of) == ("u", "i") else max(timestamp, before), rating)
        for name, of, timestamp, rating in more
    ]
    store.add_reviews(made(later, prefix, start=1000))
    assert history(store, user, item, before) == answer


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
        "SEARCH reviews USING INDEX reviews_of_user (user_id=? AND timestamp<?)",
        "SEARCH reviews USING INDEX reviews_of_item (item_id=? AND timestamp<?)",
        "SEARCH reviews USING COVERING INDEX reviews_of_user (user_id=? AND timestamp<?)",
        "SEARCH reviews USING COVERING INDEX reviews_of_item (item_id=? AND timestamp<?)",
    ]
