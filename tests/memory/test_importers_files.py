"""Whole files: recognised by their first rows, or refused with one sentence that says how to mend it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from whylike.errors import InputError, UsageError
from whylike.memory.importers import FORMATS, Kind, Levels, Source, read, recognise
from whylike.records import RatingScale

OWN = {"user_id": "u", "item_id": "i", "rating": 5, "text": "fine", "timestamp": 1}
AMAZON_2014 = {"reviewerID": "u", "asin": "i", "overall": 5.0, "reviewText": "fine", "unixReviewTime": 1}
AMAZON_2023 = {"user_id": "u", "parent_asin": "i", "rating": 5.0, "text": "fine", "timestamp": 1}
YELP = {"review_id": "r", "user_id": "u", "business_id": "b", "stars": 5, "text": "fine", "date": "2014-01-01 10:00:00"}
EXP3RT = dict.fromkeys(("user_id", "item_id", "user_persona", "item_description", "item_synopsis", "score"), "x")
REVIEWS = {"jsonl": OWN, "amazon2014": AMAZON_2014, "amazon2023": AMAZON_2023, "yelp": YELP, "exp3rt": EXP3RT}
ITEMS = {
    "jsonl": {"item_id": "i", "description": "d"},
    "amazon2014": {"asin": "i", "title": "t"},
    "amazon2023": {"parent_asin": "i", "title": "t"},
    "yelp": {"business_id": "i", "name": "t"},
}


@pytest.fixture
def file(tmp_path):
    def write(content: bytes | list, name: str = "rows") -> Path:
        path = tmp_path / name
        if isinstance(content, list):
            content = b"".join(json.dumps(row).encode() + b"\n" for row in content)
        path.write_bytes(content)
        return path

    return write


def refusal(path: Path, kind: Kind = Kind.REVIEWS, name: str = "auto") -> str:
    with pytest.raises(InputError) as caught:
        recognise(path, kind, name)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


@pytest.mark.parametrize("name", REVIEWS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("asked", ["auto", "by name"])
def test_reviews_are_recognised(file, name, packed, asked):
    content = json.dumps(REVIEWS[name]).encode() + b"\n"
    path = file(gzip.compress(content) if packed else content)
    recognised = recognise(path, Kind.REVIEWS, name if asked == "by name" else "auto")
    assert recognised.format is FORMATS[name]


@pytest.mark.parametrize("name", ITEMS)
def test_items_are_recognised(file, name):
    assert recognise(file([ITEMS[name]]), Kind.ITEMS).format is FORMATS[name]


def test_csv_is_recognised(file):
    header = b"user_id;item_id;rating;text;timestamp\n"
    recognised = recognise(file(header), Kind.REVIEWS)
    assert recognised.format is FORMATS["csv"]
    assert (
        str(recognised) == "whylike's own reviews (CSV parted by semicolons; user_id, item_id, rating, text, timestamp)"
    )
    assert recognise(file(b"item_id\ttitle\n"), Kind.ITEMS).delimiter == "\t"


def test_it_says_what_it_saw(file):
    seen = str(recognise(file([YELP]), Kind.REVIEWS))
    assert seen == "Yelp reviews (JSON Lines; review_id, user_id, business_id, stars, text, date)"
    many = OWN | {f"column{number}": 1 for number in range(20)}
    assert str(recognise(file([many]), Kind.REVIEWS)).endswith("column5, column6, ...)")


def test_a_broken_first_row_does_not_hide_the_format(file):
    path = file(b"broken\n" + json.dumps(YELP).encode() + b"\n")
    assert recognise(path, Kind.REVIEWS).format is FORMATS["yelp"]


def test_an_unknown_format_name(file):
    with pytest.raises(
        UsageError, match="there is no format 'xml'; use one of auto, jsonl, csv, amazon2014, amazon2023"
    ):
        recognise(file([OWN]), Kind.REVIEWS, "xml")


def test_missing_files_and_folders(tmp_path):
    assert refusal(tmp_path / "no.jsonl") == " does not exist; check the name and the folder it is in"
    assert refusal(tmp_path) == " is a folder; give the file that holds the rows"
    assert refusal(Path("/dev/null")) == " is no regular file; give the file that holds the rows"
    assert refusal(tmp_path / ("x" * 300)).endswith("; check that it is a file you may read")


@pytest.mark.parametrize("content", [b"", b"\n \n\n", b"\xef\xbb\xbf", b" " * 10_000, gzip.compress(b"", mtime=0)])
def test_empty_files(file, content):
    assert refusal(file(content)) == " is empty; it must hold at least one row"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\x03\x04....", " is a zip archive or a spreadsheet; unpack it, or save the sheet as CSV"),
        (b"PAR1......", " is a Parquet file; write it out as JSON Lines"),
        ("user_id".encode("utf-16"), " is UTF-16 text; save it as UTF-8"),
        (gzip.compress(b"PAR1......", mtime=0), " is a Parquet file; write it out as JSON Lines"),
        (bytes(range(256)), " holds binary data, not text; reviews are read from JSON Lines or CSV in UTF-8"),
    ],
)
def test_binary_files(file, content, sentence):
    assert refusal(file(content)) == sentence


def test_a_file_named_gz_that_is_not(file):
    path = file([OWN], "rows.jsonl.gz")
    assert refusal(path) == " is named .gz but is not gzip; rename it, or pack it again with gzip"


def test_gzip_is_known_by_its_content(file):
    assert recognise(file(gzip.compress(json.dumps(OWN).encode()), "rows.txt"), Kind.REVIEWS).format is FORMATS["jsonl"]


def lines_read(path: Path) -> int:
    recognised = recognise(path, Kind.REVIEWS)
    with Source(path) as source:
        return len(list(read(recognised, source, Levels(RatingScale()))))


def many_rows() -> bytes:
    # Texts that hardly compress, so that the file is longer than what is read ahead.
    rows = (OWN | {"text": str(pow(3, number, 10**300 + 7))} for number in range(5000))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_a_gzip_file_that_was_cut(file):
    packed = gzip.compress(many_rows())
    with pytest.raises(InputError, match=r"after line \d{4}: the gzip data ends early, so the file was cut; fetch"):
        lines_read(file(packed[:-1000]))
    assert refusal(file(packed[:12])).endswith(
        "after line 0: the gzip data ends early, so the file was cut; fetch or pack it again"
    )


def test_a_gzip_file_that_is_damaged(file):
    packed = bytearray(gzip.compress(many_rows()))
    packed[-6] ^= 1
    with pytest.raises(
        InputError, match=r"after line \d{4}: the file cannot be read on \(CRC check failed.*; fetch or pack"
    ):
        lines_read(file(bytes(packed)))


def test_a_gzip_file_of_several_parts(file):
    part = gzip.compress(json.dumps(OWN).encode() + b"\n")
    assert lines_read(file(part * 3)) == 3


def test_progress_counts_compressed_bytes(file):
    path = file(gzip.compress(many_rows()))
    recognised = recognise(path, Kind.REVIEWS)
    with Source(path) as source:
        rows = read(recognised, source, Levels(RatingScale()))
        next(rows)
        assert 0 < source.done < source.total == path.stat().st_size
        list(rows)
        assert source.done == source.total


KNOWN = "no known format (they are jsonl, csv, amazon2014, amazon2023, yelp, exp3rt)"


def test_wrong_columns(file):
    assert refusal(file([{"name": 1, "stars": 2}])) == (
        f", line 1: the columns name, stars are of {KNOWN}; "
        "whylike's own reviews also need user_id, item_id, rating, text, timestamp, so add or rename them"
    )
    assert refusal(file(b"\nuser_id,item_id,stars\n")) == (
        f", line 2: the columns user_id, item_id, stars are of {KNOWN}; "
        "whylike's own reviews also need rating, text, timestamp, so add or rename them"
    )
    assert refusal(file([{"asin": "a", "user": 1}]), name="amazon2023") == (
        ", line 1: the columns asin, user are not those of amazon2023; "
        "Amazon 2023 reviews also need user_id, rating, text, timestamp, so add or rename them"
    )


def test_rows_that_are_no_objects(file):
    sentence = ", line 1: none of the first 64 rows is a JSON object; write one a line, or CSV with a header"
    assert refusal(file(b'{"a": \n{"b": \n')) == sentence
    assert refusal(file(b"[]")) == sentence


def test_the_other_format_is_named(file):
    assert refusal(file([YELP]), name="amazon2014") == (
        ", line 1: these are Yelp reviews, not amazon2014 reviews; use --format yelp, or leave it out"
    )
    assert refusal(file([OWN]), name="csv") == (
        ", line 1: these are whylike's own reviews, not csv reviews; use --format jsonl, or leave it out"
    )
    assert refusal(file([{"a": 1}]), name="csv") == (
        ", line 1: the file is JSON Lines, but csv is read from CSV; use --format auto"
    )


def test_items_and_reviews_exchanged(file):
    assert refusal(file([ITEMS["yelp"]])) == ", line 1: these are Yelp items, not reviews; give the file with --items"
    for name, row in REVIEWS.items():
        message = refusal(file([row | {"title": "t"}]), Kind.ITEMS)
        assert message == f", line 1: these are {FORMATS[name].title} reviews, not items; give the file as REVIEWS"


def test_a_column_named_twice(file):
    path = file(b"user_id,item_id,rating,text,timestamp,Text\n")
    assert refusal(path) == ", line 1: the column 'text' is named twice; rename one of them"
