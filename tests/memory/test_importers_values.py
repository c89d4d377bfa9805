"""Single values: what is taken, and the sentence for what is not."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whylike.memory.importers import values
from whylike.memory.importers.values import BadRow, Levels
from whylike.records import RatingScale

FIVE = Levels(RatingScale())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("given_id", "taken"),
    [
        (" U1 ", "U1"),
        (123, "123"),
        ("/user/ur1/", "/user/ur1/"),
        ("名前", "名前"),
        ("Jean\u00a0Luc\u2009P", "Jean Luc P"),
        ("名\u3000前", "名 前"),
    ],
)
def test_ids_are_trimmed_and_kept(given_id, taken):
    assert values.identifier(given_id, "user_id") == taken


@pytest.mark.parametrize(
    ("given_id", "sentence"),
    [
        (None, "user_id is missing; every row needs one"),
        ("", "user_id is empty; every row needs one"),
        (math.nan, "user_id is missing; every row needs one"),
        ("  ", "user_id is empty; every row needs one"),
        (1.5, "user_id is 1.5; an id is text or a whole number"),
        (True, "user_id is True; an id is text or a whole number"),
        (["a"], "user_id is ['a']; an id is text or a whole number"),
        (1 << 5000, "user_id is a number of more than 300 digits; an id is text or a whole number"),
        ("a\x00b", r"user_id 'a\x00b' holds control or invisible characters; remove them"),
        ("a\u202eb", r"user_id 'a\u202eb' holds control or invisible characters; remove them"),
        ("a\nb", r"user_id 'a\nb' holds control or invisible characters; remove them"),
    ],
)
def test_bad_ids(given_id, sentence):
    with pytest.raises(BadRow) as caught:
        values.identifier(given_id, "user_id")
    assert str(caught.value) == sentence


def test_an_id_has_at_most_200_characters():
    assert values.identifier("x" * 200, "item_id") == "x" * 200
    with pytest.raises(BadRow, match=r"has 201 characters; an id has at most 200"):
        values.identifier("x" * 201, "item_id")


@pytest.mark.parametrize(("rating", "taken"), [(5, 5.0), (5.0, 5.0), ("4", 4.0), (" 4.0 ", 4.0), (2.9999999, 3.0)])
def test_ratings(rating, taken):
    assert FIVE.rating(rating, "rating") == taken


@pytest.mark.parametrize(
    ("rating", "sentence"),
    [
        (None, "rating is missing; every row needs one on the scale 1:5"),
        ("", "rating is missing; every row needs one on the scale 1:5"),
        ("good", "rating is 'good', which is no number; it must be one of 1, 2, 3, 4, 5"),
        (math.nan, "rating is nan, which is no number; it must be one of 1, 2, 3, 4, 5"),
        ("nan", "rating is 'nan', which is no number; it must be one of 1, 2, 3, 4, 5"),
        (math.inf, "rating is inf, which is no number; it must be one of 1, 2, 3, 4, 5"),
        (True, "rating is True, which is no number; it must be one of 1, 2, 3, 4, 5"),
        ("1_0", "rating is '1_0', which is no number; it must be one of 1, 2, 3, 4, 5"),
        (10**400, "rating is a number of more than 300 digits, which is no number; it must be one of 1, 2, 3, 4, 5"),
        (0, "rating 0 is not on the scale 1:5, whose values are 1, 2, 3, 4, 5"),
        ("6", "rating '6' is not on the scale 1:5, whose values are 1, 2, 3, 4, 5"),
        (4.5, "rating 4.5 is not on the scale 1:5, whose values are 1, 2, 3, 4, 5"),
    ],
)
def test_bad_ratings(rating, sentence):
    with pytest.raises(BadRow) as caught:
        FIVE.rating(rating, "rating")
    assert str(caught.value) == sentence


def test_ratings_on_half_steps():
    half = Levels(RatingScale(minimum=0.5, maximum=5, step=0.5))
    assert half.rating("3.5", "rating") == 3.5
    with pytest.raises(BadRow, match=r"rating 3.4 is not on the scale 0.5:5:0.5"):
        half.rating(3.4, "rating")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (1252800000, 1252800000),
        (1252800000.9, 1252800000),
        ("1252800000", 1252800000),
        (1588687728923, 1588687728),
        ("1588687728923", 1588687728),
        ("2009-09-13", 1252800000),
        ("2009-09-13T00:00:00Z", 1252800000),
        ("2009-09-13 00:00:00", 1252800000),
        ("2009-09-13T02:00:00+02:00", 1252800000),
        ("09 13, 2009", 1252800000),
        ("20090913", 1252800000),
        (20090913, 1252800000),
        (20090913.0, 1252800000),
        ("20090913T000000Z", 1252800000),
        ("20090913.5", 20090913),
        (19000000 - 1, 19000000 - 1),
        (21010000, 21010000),
        (123456789, 123456789),
        (1899, 1899),
        (2101, 2101),
        (0, 0),
        ("2100-12-31T23:59:59", values.LATEST - 1),
    ],
)
def test_times(written, seconds):
    assert values.moment(written, "timestamp") == seconds


def test_times_without_a_zone_are_utc_wherever_it_runs(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert values.moment("2009-09-13", "timestamp") == values.moment("09 13, 2009", "timestamp") == 1252800000
    finally:
        monkeypatch.undo()
        time.tzset()


MEND = "write seconds or milliseconds since 1970, or ISO 8601 such as 2014-07-01 or 2014-07-01T10:30:00Z"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (None, f"timestamp is missing; {MEND}"),
        ("", f"timestamp is missing; {MEND}"),
        ("yesterday", f"timestamp is 'yesterday', which is no time; {MEND}"),
        ("13 40, 2009", f"timestamp is '13 40, 2009', which is no time; {MEND}"),
        ("2021", "timestamp is '2021', a year but no day of it; write a day such as 2021-01-01"),
        (2021, "timestamp is 2021, a year but no day of it; write a day such as 2021-01-01"),
        (" 1969 ", "timestamp is ' 1969 ', a year but no day of it; write a day such as 1969-01-01"),
        ("20211301", f"timestamp is '20211301', which is no date; {MEND}"),
        (20210229, f"timestamp is 20210229, which is no date; {MEND}"),
        ("19691231", f"timestamp is '19691231', which is not between 1970 and 2100; {MEND}"),
        (True, f"timestamp is True, which is no time; {MEND}"),
        ([1], f"timestamp is [1], which is no time; {MEND}"),
        (-1, f"timestamp is -1, which is not between 1970 and 2100; {MEND}"),
        ("1969-12-31", f"timestamp is '1969-12-31', which is not between 1970 and 2100; {MEND}"),
        ("2101-01-01", f"timestamp is '2101-01-01', which is not between 1970 and 2100; {MEND}"),
        (1588687728923000, f"timestamp is 1588687728923000, which is not between 1970 and 2100; {MEND}"),
        (math.inf, f"timestamp is inf, which is not between 1970 and 2100; {MEND}"),
    ],
)
def test_bad_times(written, sentence):
    with pytest.raises(BadRow) as caught:
        values.moment(written, "timestamp")
    assert str(caught.value) == sentence


def test_what_was_written_was_written_by_now():
    latest = values.latest_written()
    assert 86_399 < latest - time.time() <= 86_400
    assert values.written(int(latest), "--at", latest) == int(latest)
    with pytest.raises(BadRow) as caught:
        values.written("2099-01-01", "--at", latest)
    assert str(caught.value) == "--at is '2099-01-01', which is in the future; write when the review was written"


@pytest.mark.parametrize(
    ("written", "votes"),
    [
        (3, 3),
        (3.0, 3),
        ([3, 4], 3),
        ("[3, 4]", 3),
        ("(3,4)", 3),
        ("3", 3),
        ("1,234", 1234),
        ("3.0", 3),
        (-1, 0),
        (None, 0),
        ("", 0),
        (" ", 0),
        (math.nan, 0),
        ([], None),
        ("many", None),
        (1.5, None),
        (True, None),
        (10**12, None),
    ],
)
def test_helpful_votes(written, votes):
    if votes is not None:
        assert values.helpful_votes(written, "helpful") == votes
    else:
        with pytest.raises(BadRow, match=r"helpful is .*; it must be a count of votes such as 3, or \[helpful, all\]"):
            values.helpful_votes(written, "helpful")


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ([["Music", "Pop"], ["Music", "R&amp;B"]], ("Music", "Pop", "R&B")),
        (["a, b", "c"], ("a, b", "c")),
        ("a | b|a", ("a", "b")),
        ("a; b, c", ("a", "b, c")),
        ("a, b", ("a", "b")),
        ("alone", ("alone",)),
        ("[['a', 'b'], ['c']]", ("a", "b", "c")),
        ('["a", "b"]', ("a", "b")),
        ("[not a list", ("[not a list",)),
        (None, ()),
        ("", ()),
        ([None, "", 3], ("3",)),
    ],
)
def test_categories(written, taken):
    assert values.categories(written, "categories") == taken


@pytest.mark.parametrize("written", [5, {"a": 1}, True])
def test_bad_categories(written):
    with pytest.raises(BadRow, match=r"categories is .*; it must be a list or text parted by \|, ; or ,"):
        values.categories(written, "categories")


def test_descriptions_and_titles():
    assert values.description(["one", "", "two &amp; three"], "description") == "one\n\ntwo & three"
    assert values.description(None, "description") == ""
    assert values.title(" A<br>B ", "title") == "A B"
    assert values.title(1984, "title") == "1984"
    with pytest.raises(BadRow, match=r"title is \['a'\]; a title is text"):
        values.title(["a"], "title")
    with pytest.raises(BadRow, match=r"description is \{'a': 1\}; it must be text or a list of texts"):
        values.description({"a": 1}, "description")
    with pytest.raises(BadRow, match="description holds a list in a list"):
        values.description([["a"]], "description")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (None, "text is empty; a review needs a text"),
        ("", "text is empty; a review needs a text"),
        (" <br>\u200b ", r"text ' <br>\u200b ' is empty after cleaning; a review needs a text"),
        (5, "text is 5; it must be text"),
    ],
)
def test_bad_texts(written, sentence):
    with pytest.raises(BadRow) as caught:
        values.review_text(written, "text")
    assert str(caught.value) == sentence


def test_long_texts_are_kept_whole_to_a_million_characters():
    words = "word " * 100_000
    assert values.review_text(words, "text") == words.strip()
    assert len(values.review_text("x" * 1_000_000, "text")) == 1_000_000
    with pytest.raises(BadRow, match=r"text has 1,000,001 characters; at most 1,000,000 are kept, so shorten it"):
        values.review_text("x" * 1_000_001, "text")


def test_review_ids_are_stable_and_tell_reviews_apart():
    one = values.review_id("u", "i", 1, 5.0, "text")
    assert one == "8cddf3fcd51c2c79f6a4035b"
    others = {
        values.review_id("u2", "i", 1, 5.0, "text"),
        values.review_id("u", "i2", 1, 5.0, "text"),
        values.review_id("u", "i", 2, 5.0, "text"),
        values.review_id("u", "i", 1, 4.0, "text"),
        values.review_id("u", "i", 1, 5.0, "Text"),
    }
    assert len(others | {one}) == 6


@settings(deadline=None)
@given(ANYTHING)
def test_any_value_is_taken_or_refused(value):
    takers = (
        values.identifier,
        values.review_text,
        values.title,
        values.description,
        values.categories,
        values.helpful_votes,
        values.moment,
        FIVE.rating,
    )
    for take in takers:
        try:
            take(value, "column")
        except BadRow as reason:
            assert str(reason).startswith("column ")
            assert str(reason).isprintable()
            assert len(str(reason)) < 300
