"""Rows of JSON and CSV: each is a record or a reject with its line and a sentence; no row stops the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whylike.errors import InputError
from whylike.memory.importers import Kind, Levels, Reject, Source, json_rows, read, recognise, source
from whylike.memory.importers.csv_rows import csv_rows
from whylike.memory.importers.json_rows import line_rows, list_rows
from whylike.records import RatingScale, Review

GOOD = {"user_id": "u", "item_id": "i", "rating": 5, "text": "fine", "timestamp": 1}
LINE = json.dumps(GOOD).encode() + b"\n"
HEADER = b"user_id,item_id,rating,text,timestamp\n"
ROW = b"u,i,5,fine,1\n"


@pytest.fixture
def file(tmp_path):
    def write(content: bytes, name: str = "reviews.data") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def rows_of(path: Path):
    recognised = recognise(path, Kind.REVIEWS)
    with Source(path) as opened:
        return list(read(recognised, opened, Levels(RatingScale())))


def rejects_of(path: Path):
    return [(row.line, row.reason) for row in rows_of(path) if isinstance(row, Reject)]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (
            b'{"user_id": "u"',
            "the row is not valid JSON (expecting ',' delimiter at character 17); write one object a line",
        ),
        (b"plain words", "the row is not valid JSON (expecting value at character 1); write one object a line"),
        (b"[1, 2]", "the row is no JSON object; write one {...} a line"),
        (b'"user_id"', "the row is no JSON object; write one {...} a line"),
        (b'{"user_id": "\xff"}', "the row is not UTF-8; save the file as UTF-8"),
        (b"[" * 100_000, "the row is nested too deeply; write one flat object a line"),
        (b'{"n": ' + b"1" * 5000, "the row is not valid JSON (a number has too many digits); write one object a line"),
        (b"{'user_id': open('x')}", "the row is neither valid JSON nor a Python literal; write one JSON object a line"),
        (b"{}", "user_id is missing; every row needs one"),
    ],
    ids=["cut", "words", "list", "string", "latin", "deep", "digits", "code", "empty"],
)
def test_bad_json_lines(file, bad, sentence):
    path = file(LINE + bad + b"\n" + LINE)
    good, reject, after = rows_of(path)
    assert isinstance(good, tuple)
    assert isinstance(after, tuple)
    assert reject == Reject(2, sentence, bad.decode("utf-8", "backslashreplace")[:500])


def test_what_python_writes_is_read(file):
    with_nan = json.dumps(GOOD | {"helpful": float("nan"), "text": "half \ud83d pair"}).encode()
    literal = repr(GOOD | {"text": "it's \u00e9"}).encode()
    raw_tab = json.dumps(GOOD).replace("fine", "a\tb").encode()
    texts = [row[0].text for row in rows_of(file(b"\n".join((with_nan, literal, raw_tab))))]
    assert texts == ["half pair", "it's \u00e9", "a b"]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(file):
    path = file(b"\xef\xbb\xbf\n  \n" + LINE + b"\r\n" + b"nonsense\n")
    assert isinstance(rows_of(path)[0], tuple)
    assert [line for line, _ in rejects_of(path)] == [5]


def test_a_row_longer_than_allowed_is_rejected_and_the_next_is_read(file, monkeypatch):
    monkeypatch.setattr(source, "MAX_ROW", 200)
    path = file(LINE + b'{"text": "' + b"x" * 1000 + b'"}\n' + LINE)
    good, reject, after = rows_of(path)
    assert reject.line == 2
    assert reject.reason == "the row is longer than 16 MiB; shorten it"
    assert isinstance(good, tuple)
    assert isinstance(after, tuple)


def test_reject_quotes_only_the_beginning_of_the_row(file):
    (reject,) = [row for row in rows_of(file(LINE + b"x" * 10_000)) if isinstance(row, Reject)]
    assert reject.raw == "x" * 500


def test_json_lists_are_streamed(file):
    elements = [json.dumps(GOOD | {"user_id": f"u{number}", "text": "long " * 2000}) for number in range(200)]
    path = file(("[\n" + ",\n".join(elements) + "\n]\n").encode())
    with Source(path) as opened:
        rows = list_rows(opened)
        line, raw, fields = next(rows)
        assert (line, raw, fields["user_id"]) == (2, elements[0], "u0")
        for _ in range(50):
            next(rows)
        assert opened.done < opened.total / 2
        assert [line for line, _, _ in rows] == list(range(53, 202))


def test_a_broken_element_does_not_load_the_rest_of_the_list(file, monkeypatch):
    monkeypatch.setattr(json_rows, "MAX_ROW", 2**20)
    path = file(b"[\n" + LINE.strip() + b',\n{"text": broken' + b" " * 2**23 + b"]")
    with Source(path) as opened:
        rows = list_rows(opened)
        next(rows)
        with pytest.raises(
            InputError, match="line 3: the file is no valid JSON list: a value is broken or longer than 1 MiB"
        ):
            next(rows)
        assert opened.done < opened.total / 2


def test_json_lines_are_streamed(file):
    path = file(LINE * 10_000)
    with Source(path) as opened:
        rows = line_rows(opened)
        next(rows)
        assert opened.line == 1
        assert opened.done < opened.total / 2


def test_bad_elements_of_a_list(file):
    content = json.dumps([GOOD, 5, GOOD | {"rating": 9}], indent=1).encode()
    bad_bytes = content.replace(b'"fine"', b'"\xff"', 1)
    assert rejects_of(file(content)) == [
        (9, "the element is no JSON object; the list must hold {...}"),
        (10, "rating 9 is not on the scale 1:5, whose values are 1, 2, 3, 4, 5"),
    ]
    assert rejects_of(file(bad_bytes))[0] == (2, "the row is not UTF-8; save the file as UTF-8")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[\n%s\n%s]", "line 3: the file is no valid JSON list: a comma or the end of the list must stand here"),
        (b"[\n%s,\n{'a'}]", "line 3: the file is no valid JSON list: expecting property name"),
        (b"[\n%s,\n%s", "line 3: the file is no valid JSON list: a comma or the end of the list must stand here"),
        (b"[\n%s,\n%s,\n", "line 4: the file is no valid JSON list: expecting value"),
        (b"[\n%s,\n%s]\n{}", "line 4: the file is no valid JSON list: nothing may follow the list"),
        (b"[\n%s,\n" + b"[" * 100_000, "line 3: the file is no valid JSON list: the value is nested too deeply"),
    ],
    ids=["comma", "element", "end", "last", "after", "deep"],
)
def test_a_broken_list_is_refused(file, content, problem):
    path = file(content.replace(b"%s", LINE.strip()))
    with pytest.raises(InputError) as caught:
        rows_of(path)
    assert str(caught.value).startswith(f"{path}, {problem}")
    assert "write one object a line (JSON Lines)" in str(caught.value)


@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"], ids=["comma", "semicolon", "tab"])
def test_csv_delimiters(file, delimiter):
    path = file(b"\xef\xbb\xbf" + (HEADER + ROW).replace(b",", delimiter))
    ((review,),) = rows_of(path)
    assert (review.user_id, review.rating, review.text) == ("u", 5.0, "fine")


def test_csv_quoting_and_line_numbers(file):
    quoted = b'u,i,5,"one, ""two""\r\n\r\nthree",1\n'
    path = file(b" USER_ID ,Item_Id,rating,TEXT,timestamp\n\n" + quoted + b'u,i,9,"x\ny",1\nu,i,8,z,1\n')
    good, bad, last = rows_of(path)
    assert good[0].text == 'one, "two"\n\nthree'
    assert (bad.line, bad.raw) == (6, 'u,i,9,"x\ny",1')
    assert (last.line, last.raw) == (8, "u,i,8,z,1")


def test_csv_fields_larger_than_the_default_limit(file):
    path = file(HEADER + b'u,i,5,"' + b"word " * 100_000 + b'",1\n')
    ((review,),) = rows_of(path)
    assert len(review.text) == 499_999


QUOTING = "put a field that holds the delimiter, a quote or a line break in quotes, and double the quotes in it"


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"u,i,5,fine", f"the row has 4 fields where the header has 5 fields; {QUOTING}"),
        (b"u,i,5,fine,1,more", f"the row has 6 fields where the header has 5 fields; {QUOTING}"),
        (b"u", f"the row has 1 field where the header has 5 fields; {QUOTING}"),
        (b"u,i,5,caf\xe9,1", "the row is not UTF-8; save the file as UTF-8"),
        (b'u,i,5,"a "quoted" word",1', f"the row is no valid CSV (',' expected after '\"'); {QUOTING}"),
        (b"u,i,5,a\rb,1", "the row is no valid CSV"),
        (b"u,i,,fine,1", "rating is missing; every row needs one on the scale 1:5"),
    ],
    ids=["few", "many", "one", "latin", "quotes", "return", "empty"],
)
def test_bad_csv_rows(file, bad, sentence):
    good, reject, after = rows_of(file(HEADER + ROW + bad + b"\n" + ROW))
    assert isinstance(good, tuple)
    assert isinstance(after, tuple)
    assert reject.line == 3
    assert reject.reason.startswith(sentence)


def test_a_quote_that_is_never_closed_costs_one_row(file):
    path = file(HEADER + b'u,i,5,"never closed,1\n' + ROW * 5)
    rows = rows_of(path)
    assert [type(row) for row in rows] == [Reject] + [tuple] * 5
    assert rows[0].reason == f"the row is no valid CSV (unexpected end of data); {QUOTING}"


def test_csv_rows_that_are_too_long(file, monkeypatch):
    monkeypatch.setattr("whylike.memory.importers.csv_rows.MAX_ROW", 200)
    path = file(HEADER + b'u,i,5,"' + b"line\n" * 100 + b'",1\n' + ROW)
    rows = rows_of(path)
    assert rows[0].reason == "the row is longer than 16 MiB; shorten it"
    assert (rows[0].line, rows[0].raw) == (2, 'u,i,5,"line')
    assert isinstance(rows[-1], tuple)


def test_blank_csv_rows_are_passed_over(file):
    assert len(rows_of(file(HEADER + b"\n,,,,\n  \n" + ROW))) == 1


def test_the_same_review_has_the_same_id_in_csv_and_json(file):
    (in_csv,), (in_json,) = rows_of(file(HEADER + ROW))[0], rows_of(file(LINE))[0]
    assert in_csv == in_json


MANY = 250
"""Good rows before the bad ones: more bytes than are looked at to tell text from binary data."""


def check(path: Path, first: Review) -> None:
    """Every row after the first is records or a reject with a sentence on one line."""
    rows = rows_of(path)
    assert rows[:MANY] == [(first,)] * MANY
    for row in rows[MANY:]:
        if isinstance(row, Reject):
            assert row.reason.isprintable()
            assert not row.reason.endswith(".")
            assert row.line > MANY
            row.raw.encode()
        else:
            assert all(isinstance(parsed, Review) for parsed in row)


FIRST = Review(review_id="853a6e93266d74b8f1b57ea3", user_id="u", item_id="i", rating=5, text="fine", timestamp=1)
BYTES = st.lists(
    st.one_of(st.binary(max_size=30), st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xff", ROW, LINE]))
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from([5, "u", 1.0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys((*GOOD, "helpful", "title", "review_id", "other"), JSON_VALUES))
    | JSON_VALUES
)


no_deadline = settings(deadline=None)
"""A machine that is busy with something else is no failure."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("parsers") / "file"


@no_deadline
@given(BYTES)
def test_any_bytes_after_a_json_line(scratch, pieces):
    scratch.write_bytes(MANY * LINE + b"".join(pieces))
    check(scratch, FIRST)


@no_deadline
@given(BYTES)
def test_any_bytes_after_a_csv_row(scratch, pieces):
    scratch.write_bytes(HEADER + MANY * ROW + b"".join(pieces))
    check(scratch, FIRST)


@no_deadline
@given(OBJECTS)
def test_any_json_values_as_lines(scratch, values):
    scratch.write_bytes(MANY * LINE + b"".join(json.dumps(value).encode() + b"\n" for value in values))
    check(scratch, FIRST)


@no_deadline
@given(OBJECTS)
def test_any_json_values_in_a_list(scratch, values):
    scratch.write_text(json.dumps([GOOD, *values], indent=1))
    rows = rows_of(scratch)
    assert len(rows) == 1 + len(values)
    assert rows[0] == (FIRST,)


@no_deadline
@given(OBJECTS, st.integers(1, 9))
def test_lists_do_not_depend_on_how_they_are_cut(scratch, values, characters):
    scratch.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8", errors="surrogateescape")
    with Source(scratch) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK", characters)
        raws = [raw for _, raw, _ in list_rows(opened)]
    assert [json.dumps(json.loads(raw)) for raw in raws] == [json.dumps(value) for value in values]


@no_deadline
@given(st.binary(max_size=300))
def test_any_file_is_read_or_refused_in_one_sentence(scratch, content):
    scratch.write_bytes(content)
    try:
        rows_of(scratch)
    except InputError as error:
        assert str(error).startswith(str(scratch))
        assert str(error).isprintable()


@no_deadline
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=8)] * 3)
    )
)
def test_csv_reads_what_csv_writes(scratch, table):
    quoted = "".join(",".join('"' + field.replace('"', '""') + '"' for field in row) + "\n" for row in table)
    scratch.write_text("a,b,c\n" + quoted, encoding="utf-8", newline="")
    with Source(scratch) as opened:
        read_back = [tuple(fields.values()) for _, _, fields in csv_rows(opened, ",")]
    assert read_back == [row for row in table if any(field.strip() for field in row)]
