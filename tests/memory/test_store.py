"""What the store keeps, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from whylike.errors import StoreError, UsageError
from whylike.memory import connection, database
from whylike.memory.connection import FILE
from whylike.memory.outbox import Outbox
from whylike.memory.store import Store
from whylike.records import Item, Profile, Rated, RatedPair, RatingScale, Review, ReviewSummary, Side
from whylike.settings import Settings

HOSTILE = [
    "'; DROP TABLE reviews; --",
    '"quoted" `ticks` \\ %s %(a)s :name ? {0} {x}',
    "a\nb\tc",
    "😀 العربية עברית ünïcödé",
    "../../etc/passwd",
    "",
    " ",
    "null",
    "x" * 5000,
]


@pytest.fixture
def here(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(store=tmp_path, database_url=database_url)


@pytest.fixture
def store(here: Settings) -> Iterator[Store]:
    with Store.open(here) as opened:
        yield opened


def review(review_id: str, user_id: str = "u", item_id: str = "i", **changed: object) -> Review:
    return Review(**{"rating": 4.0, "text": "good", "timestamp": 100} | changed | {
        "review_id": review_id, "user_id": user_id, "item_id": item_id
    })  # fmt: skip


def summary(review_id: str, version: str = "v1", **lists: tuple[str, ...]) -> ReviewSummary:
    return ReviewSummary(review_id=review_id, adapter_version=version, **lists)


def test_every_record_comes_back_as_it_went_in_however_hostile(store: Store) -> None:
    items = [Item(item_id=f"i{text}", title=text, description=text, categories=(text, text)) for text in HOSTILE]
    reviews = [
        review(f"r{text}", f"u{text}", f"i{text}", title=text, text=text, rating=0.5, timestamp=-5, helpful=3)
        for text in HOSTILE
    ]
    summaries = [summary(f"r{text}", text, likes=(text,), dislikes=(text, "b"), preferences=()) for text in HOSTILE]
    profiles = [
        Profile(side=side, subject_id=text, likes=(text,), adapter_version=text, source=text, average=1 / 3)
        for text in HOSTILE
        for side in Side
    ]
    pairs = [RatedPair(user_id=f"u{text}", item_id=f"i{text}", rating=1.5, source=text) for text in HOSTILE]
    store.add_items(items)
    assert store.add_reviews(reviews) == len(HOSTILE)
    store.add_summaries(summaries)
    store.add_profiles(profiles)
    assert store.add_rated_pairs(pairs) == len(HOSTILE)
    for text in HOSTILE:
        store.keep_answer(text, text, text, text, text)

    assert [store.item(item.item_id) for item in items] == items
    assert store.reviews(each.review_id for each in reviews) == reviews
    assert [store.review_of(each.user_id, each.item_id) for each in reviews] == reviews
    for each in summaries:
        assert store.summaries([each.review_id], each.adapter_version) == {each.review_id: each}
    for each in profiles:
        assert store.profile(each.side, each.subject_id, each.adapter_version, each.source) == each
        assert store.latest_profile(each.side, each.subject_id) == each
    assert sorted(store.rated_pairs(), key=str) == sorted(pairs, key=str)
    assert [store.answer(text) for text in HOSTILE] == HOSTILE
    assert store.counts().model_dump() == {
        "users": 2 * len(HOSTILE),
        "items": 2 * len(HOSTILE),
        "reviews": len(HOSTILE),
        "summaries": len(HOSTILE),
        "profiles": 2 * len(HOSTILE),
    }


def test_a_review_brings_its_user_and_item_and_is_taken_once(store: Store) -> None:
    assert not store.has_user("u")
    assert store.item("i") is None
    first = review("r1", text="first")
    assert store.add_reviews([first, review("r1", text="again"), review("r2")]) == 2
    assert store.add_reviews([review("r1", text="changed"), review("r3")]) == 1
    assert store.add_reviews([]) == 0
    assert store.reviews(["r1"]) == [first]
    assert store.has_user("u")
    assert store.item("i") == Item(item_id="i")
    assert store.mean_rating(1000) == Rated(count=3, average=4.0)


def test_an_item_that_comes_later_fills_in_and_an_empty_field_takes_nothing_away(store: Store) -> None:
    store.add_reviews([review("r1")])
    full = Item(item_id="i", title="The Title", description="About it", categories=("a", "b"))
    store.add_items([full])
    store.add_items([Item(item_id="i")])
    assert store.item("i") == full
    store.add_items([Item(item_id="i", title="New")])
    assert store.item("i") == full.model_copy(update={"title": "New"})


def test_reviews_come_newest_first_and_in_the_order_asked(store: Store) -> None:
    store.add_reviews([review("b", timestamp=5), review("a", timestamp=5), review("c", timestamp=9), review("d", "v")])
    assert [each.review_id for each in store.user_reviews("u", 10)] == ["c", "a", "b"]
    assert [each.review_id for each in store.user_reviews("u", 2)] == ["c", "a"]
    assert [each.review_id for each in store.reviews(["d", "nope", "a"])] == ["d", "a"]
    assert store.review_of("u", "i").review_id == "c"
    assert store.review_of("v", "other") is None


def test_long_lists_of_ids_are_looked_up_in_parts(store: Store) -> None:
    many = [review(f"r{n}") for n in range(2 * database.IN_CHUNK + 1)]
    assert store.add_reviews(many) == len(many)
    assert store.add_reviews(many) == 0
    store.add_summaries(summary(each.review_id) for each in many)
    assert store.reviews(each.review_id for each in many) == many
    assert len(store.summaries((each.review_id for each in many), "v1")) == len(many)


def test_a_later_summary_replaces_that_of_the_same_adapter_only(store: Store) -> None:
    store.add_reviews([review("r1")])
    store.add_summaries([summary("r1", "v1", likes=("a",)), summary("r1", "v2", likes=("b",))])
    store.add_summaries([summary("r1", "v1", likes=("c",))])
    assert store.summaries(["r1", "r2"], "v1") == {"r1": summary("r1", "v1", likes=("c",))}
    assert store.summaries(["r1"], "v2") == {"r1": summary("r1", "v2", likes=("b",))}


def test_what_is_there_already_is_not_written_nor_followed_by_the_index_again(store: Store) -> None:
    def profile(*likes: str) -> Profile:
        return Profile(side=Side.USER, subject_id="u", likes=likes, adapter_version="v1")

    def add(*likes: str) -> int:
        store.add_summaries([summary("r1"), summary("r1", likes=likes)])
        store.add_profiles([profile(), profile(*likes)])
        return Outbox(store.database).remaining()

    store.add_reviews([review("r1")])
    assert add("a") == 2
    assert add("a") == 2
    assert add("b") == 4
    assert store.summaries(["r1"], "v1")["r1"].likes == ("b",)
    assert store.latest_profile(Side.USER, "u") == profile("b")
    assert store.counts().profiles == store.counts().summaries == 1


def test_a_summary_of_no_review_is_refused_with_all_that_came_with_it(store: Store) -> None:
    store.add_reviews([review("r1")])
    with pytest.raises(StoreError, match="about a review that is not in it; add that review first"):
        store.add_summaries([summary("r1"), summary("nope")])
    assert store.counts().summaries == 0


def test_the_latest_profile_is_the_one_that_brought_something_new(store: Store) -> None:
    def profile(source: str, *likes: str) -> Profile:
        return Profile(side=Side.USER, subject_id="u", likes=likes, adapter_version="v1", source=source)

    store.add_profiles([profile("s1", "a")])
    store.add_profiles([profile("s2", "b")])
    assert store.latest_profile(Side.USER, "u") == profile("s2", "b")
    store.add_profiles([profile("s1", "a")])
    assert store.latest_profile(Side.USER, "u") == profile("s2", "b")
    store.add_profiles([profile("s1", "changed")])
    assert store.latest_profile(Side.USER, "u") == profile("s1", "changed")
    assert store.profile(Side.USER, "u", "v1", "s1") == profile("s1", "changed")
    assert store.profile(Side.ITEM, "u", "v1", "s1") is None
    assert store.has_user("u")
    assert store.counts().profiles == 2


def test_the_first_answer_for_a_key_stays(store: Store) -> None:
    assert store.keep_answer("k", "summary", "first") == "first"
    assert store.keep_answer("k", "summary", "second") == "first"
    assert store.answer("k") == "first"
    assert store.answer("other") is None


def test_rated_pairs_are_kept_by_source_and_are_never_evidence(store: Store) -> None:
    one = RatedPair(user_id="u", item_id="i", rating=2.0, source="test")
    assert store.add_rated_pairs([one, one.model_copy(update={"source": "valid"})]) == 2
    assert store.add_rated_pairs([one.model_copy(update={"rating": 5.0})]) == 0
    assert store.rated_pairs("test") == [one]
    assert store.has_user("u")
    assert store.counts().reviews == 0
    assert store.mean_rating(10**10) == Rated()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([-86_401, -1, 0, 1, 86_399, 86_400, 86_401, 200_000]), st.sampled_from([0.5, 1, 4.1])
        ),
        max_size=8,
    ),
    st.integers(-90_000, 260_000),
)
def test_the_mean_rating_is_that_of_all_earlier_ratings(
    tmp_path_factory: pytest.TempPathFactory, rated: list[tuple[int, float]], before: int
) -> None:
    earlier = [rating for timestamp, rating in rated if timestamp < before]
    with Store.open(Settings(store=tmp_path_factory.mktemp("mean"))) as store:
        for n, (timestamp, rating) in enumerate(rated):
            store.add_reviews([review(str(n), timestamp=timestamp, rating=rating)])
        store.add_reviews(review(str(n)) for n in range(len(rated)))
        mean = store.mean_rating(before)
    assert mean.count == len(earlier)
    assert mean.average == (pytest.approx(sum(earlier) / len(earlier)) if earlier else None)


def test_the_scale_is_settled_by_the_first_ratings(here: Settings, store: Store) -> None:
    ten, five = RatingScale(minimum=1, maximum=10), RatingScale()
    assert store.scale == five
    assert store.fitting_scale(ten, five) == ten
    assert store.fitting_scale(None, five) == five  # asking settles nothing
    store.add_reviews([review("r")], scale=ten)
    assert store.scale == store.fitting_scale(None, five) == store.fitting_scale(ten, five) == ten
    for refused in (
        lambda: store.fitting_scale(five, ten),
        lambda: store.add_reviews([review("more")], scale=five),
        lambda: store.add_rated_pairs([RatedPair(user_id="u", item_id="i", rating=4, source="s")], scale=five),
    ):
        with pytest.raises(
            UsageError, match=r"ratings on the scale 1:10, not 1:5; .* in another (store with --store|database)"
        ):
            refused()
    assert (store.counts().reviews, store.rated_pairs()) == (1, [])
    with Store.open(here) as again:
        assert again.scale == ten


def test_ratings_to_evaluate_against_settle_the_scale_too(store: Store) -> None:
    half = RatingScale(minimum=0.5, maximum=5, step=0.5)
    store.add_rated_pairs([RatedPair(user_id="u", item_id="i", rating=4, source="s")], scale=half)
    assert store.scale == half


def test_a_write_that_fails_settles_no_scale(store: Store) -> None:
    with pytest.raises(UsageError, match="valid UTF-8"):
        store.add_reviews([review("r", text="\ud800")], scale=RatingScale(maximum=10))
    assert store.fitting_scale(None, RatingScale()) == RatingScale()


def test_an_id_that_a_different_review_has_is_told_of(store: Store) -> None:
    first = review("r1", helpful=1)
    told: list[tuple[Review, Review]] = []

    def add(*new: Review) -> int:
        return store.add_reviews(new, taken=lambda taken, there: told.append((taken, there)))

    twin = review("r2", text="other")
    assert add(first, review("r2"), twin) == 2
    assert told == [(twin, review("r2"))]
    told.clear()
    assert add(first, review("r1", helpful=9, title="a title")) == 0
    assert told == []
    others = [
        review("r1", **change)
        for change in ({"user_id": "v"}, {"item_id": "j"}, {"rating": 1.0}, {"timestamp": 5}, {"text": "changed"})
    ]
    assert add(*others, review("r3")) == 1
    assert told == [(other, first) for other in others]
    assert store.reviews(["r1", "r3"]) == [first, review("r3")]


def test_threads_write_and_read_at_once(store: Store) -> None:
    def work(n: int) -> int:
        added = sum(store.add_reviews([review(f"{n}-{m}", f"u{n}"), review(f"shared-{m}")]) for m in range(10))
        assert len(store.user_reviews(f"u{n}", 100)) == 10
        return added

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(16))) == 16 * 10 + 10
    assert store.mean_rating(1000).count == store.counts().reviews == 170


def test_text_that_is_not_unicode_is_refused_and_nothing_of_its_batch_stays(store: Store) -> None:
    with pytest.raises(UsageError, match="valid UTF-8"):
        store.add_reviews([review("r1"), review("r2", text="\ud800")])
    with pytest.raises(UsageError, match="whole seconds"):
        store.add_reviews([review("r1"), review("r2", timestamp=2**70)])
    assert store.counts().reviews == store.counts().users == 0
    assert store.mean_rating(1000).count == 0


def test_a_store_that_another_process_keeps_locked_says_so(
    here: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    with Store.open(here) as impatient:
        with store.database.write():
            assert impatient.counts().reviews == 0
            with pytest.raises(StoreError, match="another process has been writing to it"):
                impatient.add_reviews([review("r1")])
        assert impatient.add_reviews([review("r1")]) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("pragma", "sentence"), [("max_page_count = 1", "disk is full"), ("query_only = ON", "may only be read")]
)
def test_a_full_or_read_only_disk_says_so_and_keeps_nothing(store: Store, pragma: str, sentence: str) -> None:
    writer = store.database._writer
    event.listen(writer, "begin", lambda connection: connection.exec_driver_sql(f"PRAGMA {pragma}"))
    with pytest.raises(StoreError, match=sentence) as raised:
        store.add_reviews(review(f"r{n}", text="x" * 10_000) for n in range(50))
    assert "\n" not in str(raised.value)
    assert store.counts().reviews == store.counts().users == 0


def test_what_is_not_a_store_is_refused_in_one_sentence(tmp_path: Path) -> None:
    garbage, file, folder, cut = (tmp_path / name for name in ("garbage", "file", "folder", "cut"))
    for each in (garbage, folder, cut):
        each.mkdir()
    (garbage / FILE).write_bytes(b"this is no database" * 500)
    file.write_text("a file")
    (folder / FILE).mkdir()
    Store.open(Settings(store=cut)).close()
    (cut / FILE).write_bytes((cut / FILE).read_bytes()[:9000])
    refused = {
        garbage: "not one of whylike's; move it away",
        file: "cannot be made: File exists",
        file / "below": "cannot be made: Not a directory",
        Path("/proc/whylike"): "cannot be made",
        folder: "cannot be opened",
        cut: "is damaged; restore it",
    }
    for path, sentence in refused.items():
        with pytest.raises(StoreError, match=sentence) as raised:
            Store.open(Settings(store=path))
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://me:secret@host/db", "names mysql, allowed are sqlite and postgresql"),
        ("no url", "is not a database URL"),
        ("ftp+tls://me:secret@host/db", "names ftp, allowed"),
        (
            "postgresql+nodriver://me:secret@host/db",
            "names the driver nodriver, but whylike uses psycopg; begin it with",
        ),
        ("postgresql://me:se@cret@host/db", "has an @ in its user or password; write it as %40"),
        ("postgresql://me:secret@host:secret/db", "is not a database URL"),
        ("postgresql://me:secret@secret:secret@host/db", "is not a database URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_without_its_password(
    tmp_path: Path, url: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as raised:
        Store.open(Settings(store=tmp_path, database_url=url))
    assert "cret" not in str(raised.value)


def test_a_database_url_is_used(tmp_path: Path) -> None:
    with Store.open(Settings(store=tmp_path / "folder", database_url=f"sqlite:///{tmp_path}/elsewhere.db")) as store:
        store.add_reviews([review("r1")])
        assert store.folder == tmp_path / "folder"
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "folder" / FILE).exists()
