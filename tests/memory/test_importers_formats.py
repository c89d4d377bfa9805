"""Each format's rows become whylike's records; real files are taken as they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from whylike.memory.importers import FORMATS, Kind, Levels, Reject, Source, read, recognise
from whylike.memory.importers.values import BadRow
from whylike.records import Item, Profile, RatedPair, RatingScale, Review, Side

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def take_review(name: str, row: dict, scale: RatingScale | None = None):
    (review,) = FORMATS[name].reviews(Levels(scale or FORMATS[name].scale), "file.json")(row)
    assert isinstance(review, Review)
    return review


def take_item(name: str, row: dict) -> Item:
    (item,) = FORMATS[name].items(row)
    return item


def read_all(path: Path, kind: Kind):
    recognised = recognise(path, kind)
    with Source(path) as source:
        return list(read(recognised, source, Levels(recognised.format.scale)))


OWN = {"user_id": "u", "item_id": "i", "rating": 4, "text": "fine", "timestamp": "2014-01-01"}


def test_own_reviews():
    row = OWN | {"review_id": "r1", "title": "A &amp; B", "helpful": [2, 3], "other": {}}
    assert take_review("jsonl", row) == Review(
        review_id="r1", user_id="u", item_id="i", rating=4, title="A & B", text="fine", timestamp=1388534400, helpful=2
    )
    assert take_review("jsonl", OWN | {"headline": "H"}).title == "H"
    assert take_review("jsonl", OWN | {"title": "T", "headline": "H"}).title == "T"
    assert take_review("jsonl", OWN | {"review_id": None}) == take_review("csv", OWN | {"rating": "4", "review_id": ""})
    assert take_review("jsonl", OWN | {"rating": 8}, RatingScale(minimum=1, maximum=10)).rating == 8


def test_the_review_id_depends_on_the_cleaned_text():
    ids = {take_review("jsonl", OWN | {"text": text}).review_id for text in ("a & b", "a  &amp; b<br>", "a and b")}
    assert len(ids) == 2


def test_own_items():
    row = {"item_id": 7, "title": "T", "description": ["a", "b"], "categories": [["x", "y"], ["x"]]}
    assert take_item("jsonl", row) == Item(item_id="7", title="T", description="a\n\nb", categories=("x", "y"))
    assert take_item("csv", {"item_id": "7", "categories": "x|y"}) == Item(item_id="7", categories=("x", "y"))


def test_amazon_2014():
    row = {"reviewerID": "u", "asin": "i", "overall": 5.0, "reviewText": "fine", "summary": "S", "helpful": [3, 4]}
    review = take_review("amazon2014", row | {"unixReviewTime": 1252800000, "reviewTime": "09 13, 2009"})
    expected = {"user_id": "u", "item_id": "i", "rating": 5.0, "title": "S", "timestamp": 1252800000, "helpful": 3}
    assert review.model_dump(include=set(expected)) == expected
    later = {**row, "helpful": None, "vote": "1,002", "reviewTime": "09 13, 2009"}
    assert take_review("amazon2014", later).helpful == 1002
    assert take_review("amazon2014", later).timestamp == 1252800000
    item = {"asin": "i", "title": "A &amp; B", "description": "d", "categories": [["x", "y"]], "price": 1.0}
    assert take_item("amazon2014", item) == Item(item_id="i", title="A & B", description="d", categories=("x", "y"))
    assert take_item("amazon2014", {"asin": "i", "category": ["x"]}).categories == ("x",)


def test_amazon_2014_items_as_python_literals(tmp_path):
    path = tmp_path / "meta.json"
    rows = [{"asin": "i", "title": "It's", "categories": [["x"]]}, {"asin": "j", "title": 'a "b"'}]
    path.write_text("\n".join(map(repr, rows)) + "\n{'asin': __import__('os').getcwd()}\n")
    first, second, third = read_all(path, Kind.ITEMS)
    assert first == (Item(item_id="i", title="It's", categories=("x",)),)
    assert second == (Item(item_id="j", title='a "b"'),)
    assert third.reason == "the row is neither valid JSON nor a Python literal; write one JSON object a line"


def test_amazon_2023():
    row = {"user_id": "u", "asin": "child", "parent_asin": "i", "rating": 1.0, "title": "T", "text": "bad"}
    row |= {"timestamp": 1588687728923, "helpful_vote": 2, "images": [], "verified_purchase": True}
    review = take_review("amazon2023", row)
    expected = {"user_id": "u", "item_id": "i", "rating": 1.0, "title": "T", "timestamp": 1588687728, "helpful": 2}
    assert review.model_dump(include=set(expected)) == expected
    assert take_review("amazon2023", row | {"parent_asin": None}).item_id == "child"
    item = {
        "parent_asin": "i",
        "title": "T",
        "main_category": "Music",
        "categories": ["Pop", "Music"],
        "features": ["f"],
    }
    assert take_item("amazon2023", item | {"description": ["d", "e"]}) == Item(
        item_id="i", title="T", description="d\n\ne", categories=("Music", "Pop")
    )
    assert take_item("amazon2023", item | {"description": []}).description == "f"


def test_yelp():
    row = {"review_id": "r", "user_id": "u", "business_id": "b", "stars": 3.0, "text": "fine", "useful": -1}
    review = take_review("yelp", row | {"date": "2014-01-01 10:30:00", "funny": 0, "cool": 0})
    assert review == Review(
        review_id="r", user_id="u", item_id="b", rating=3, text="fine", timestamp=1388572200, helpful=0
    )
    business = {
        "business_id": "b",
        "name": "Café",
        "address": "",
        "city": "Rome",
        "state": "RM",
        "categories": "Bars, Food",
    }
    assert take_item("yelp", business) == Item(
        item_id="b", title="Café", description="Rome, RM", categories=("Bars", "Food")
    )
    assert take_item("yelp", business | {"categories": None}).categories == ()


EXP3RT = {
    "user_id": "/user/u/",
    "item_id": "01",
    "user_persona": "[Like]\n- Likes  puzzles\n- Likes puzzles\n- None\n\n[Dislike]\n- None.\n\n[Average Rating]\n5.5",
    "item_description": "Title: A &amp; B  (2007)\nGenres: Action, Drama\nCast: X, Y\nPlot: They meet.",
    "item_synopsis": "[Like]\n- Cast\n- Sound\n\n[Dislike]\n- Length",
    "score": "9",
}


def take_exp3rt(row: dict):
    return FORMATS["exp3rt"].reviews(Levels(FORMATS["exp3rt"].scale), "test.json")(row)


def test_exp3rt():
    assert take_exp3rt(EXP3RT) == (
        Item(
            item_id="01",
            title="A & B (2007)",
            description="Cast: X, Y\nPlot: They meet.",
            categories=("Action", "Drama"),
        ),
        Profile(
            side=Side.USER,
            subject_id="/user/u/",
            likes=("Likes puzzles",),
            adapter_version="imported:exp3rt",
            average=5.5,
        ),
        Profile(
            side=Side.ITEM,
            subject_id="01",
            likes=("Cast", "Sound"),
            dislikes=("Length",),
            adapter_version="imported:exp3rt",
        ),
        RatedPair(user_id="/user/u/", item_id="01", rating=9, source="exp3rt:test.json"),
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"score": "11"}, "score '11' is not on the scale 1:10, whose values are 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
        ({"user_persona": "likes much"}, "user_persona 'likes much' has neither a [Like] nor a [Dislike] line"),
        ({"item_synopsis": None}, "item_synopsis is missing; it must be text with [Like] and [Dislike]"),
        ({"user_persona": 5}, "user_persona is 5; it must be text with [Like] and [Dislike]"),
        (
            {"item_synopsis": "[Like]\n- a\n[Average Rating]\n12"},
            "the average rating in item_synopsis is '12'; it must be a number on the scale 1:10",
        ),
        ({"item_description": {}}, "item_description is {}; it must be text or a list of texts"),
    ],
)
def test_bad_exp3rt_rows(change, sentence):
    with pytest.raises(BadRow) as caught:
        take_exp3rt(EXP3RT | change)
    assert str(caught.value).startswith(sentence)


def test_exp3rt_as_released_is_a_list(tmp_path):
    path = tmp_path / "test.json"
    path.write_text(json.dumps([EXP3RT, EXP3RT | {"score": 0}], indent=1))
    taken, rejected = read_all(path, Kind.REVIEWS)
    assert len(taken) == 4
    assert (rejected.line, rejected.reason[:34]) == (10, "score 0 is not on the scale 1:10, ")


@pytest.mark.parametrize(
    ("name", "kind", "records", "rejected"),
    [
        ("digital_music/reviews.jsonl.gz", Kind.REVIEWS, {Review: 6908}, 0),
        ("musical_instruments/reviews.jsonl.gz", Kind.REVIEWS, {Review: 10261}, 0),
        ("digital_music/items.jsonl.gz", Kind.ITEMS, {Item: 382}, 0),
        ("exp3rt_format_sample.json", Kind.REVIEWS, {Item: 55, Profile: 110, RatedPair: 55}, 0),
    ],
    ids=["music", "instruments", "items", "exp3rt"],
)
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data is not at {REAL}")
def test_real_files(name, kind, records, rejected):
    rows = read_all(REAL / name, kind)
    rejects = [row for row in rows if isinstance(row, Reject)]
    parsed = [record for row in rows if not isinstance(row, Reject) for record in row]
    assert Counter(map(type, parsed)) == records
    assert len(rejects) == rejected
    reviews = [record for record in parsed if isinstance(record, Review)]
    assert len({review.review_id for review in reviews}) == len(reviews)
    if reviews:
        assert sum(review.helpful > 0 for review in reviews) > len(reviews) / 10
        assert all(review.title for review in reviews[:100])
    assert all(record.categories and record.title for record in parsed if isinstance(record, Item))
    profiles = [record for record in parsed if isinstance(record, Profile)]
    assert all(profile.likes and profile.average for profile in profiles)
