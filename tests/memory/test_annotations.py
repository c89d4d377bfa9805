"""What teachers wrote: read from files, kept once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from whylike.errors import InputError
from whylike.memory.importers.teacher import aspects, read_annotations
from whylike.memory.store import Store
from whylike.records import ReasonAnnotation, SummaryAnnotation

ROW = {
    "item_id": "B01",
    "rating": 4,
    "text": "Warm sound. The strap broke.",
    "summary": "Positive Aspects: Warm sound\nNegative Aspects: Strap broke\nUser Preference Elements: Sound, strength",
    "match": 0.4,
}

TOLD = {
    "title": "Harvest",
    "user_history": "1. Zuma\nPositive Aspects: Loud guitars\nNegative Aspects: None mentioned\n"
    "User Preference Elements: Energy\n\n2. Ragged Glory\nPositive Aspects: Loud guitars, long jams",
    "item_history": "1. Harvest\nPositive Aspects: Soft songs\nNegative Aspects: Too sweet",
    "reason": ' "The user likes loud guitars.\n"Harvest" has soft songs."',
    "reward": -0.2,
}


def file(folder: Path, *rows: dict | str, packed: bool = True) -> Path:
    lines = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path = folder / "summaries"
    path.write_bytes(gzip.compress(lines.encode()) if packed else lines.encode())
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_rows_become_annotations(tmp_path: Path, packed: bool):
    says_nothing = {**ROW, "summary": "Positive Aspects: None mentioned\nNegative Aspects: N/A"}
    path = file(tmp_path, ROW, {**ROW, "match": 0.1}, says_nothing, packed=packed)
    assert list(read_annotations(path)) == [
        SummaryAnnotation(
            item_id="B01",
            text="Warm sound. The strap broke.",
            rating=4,
            likes=("Warm sound",),
            dislikes=("Strap broke",),
            preferences=("Sound", "strength"),
        )
    ]


def test_rows_of_reasons_hold_what_the_teacher_was_shown(tmp_path: Path):
    path = file(tmp_path, TOLD, ROW, {**TOLD, "reason": ' " '})
    assert next(iter(read_annotations(path))) == ReasonAnnotation(
        title="Harvest",
        user_likes=("Loud guitars", "Loud guitars", "long jams"),
        user_preferences=("Energy",),
        item_likes=("Soft songs",),
        item_dislikes=("Too sweet",),
        text='The user likes loud guitars. "Harvest" has soft songs.',
    )
    assert [type(each) for each in read_annotations(path)] == [ReasonAnnotation, SummaryAnnotation]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("Warm sound, soft strap.", ("Warm sound", "soft strap")),
        ('The song "No Woman, No Cry", great vocals', ('The song "No Woman, No Cry"', "great vocals")),
        ("Great songs (Flashlight, The Bop Gun), funk", ("Great songs (Flashlight, The Bop Gun)", "funk")),
        ('A 7" single, rare', ('A 7" single', "rare")),
        ("Great (songs, funk", ("Great (songs", "funk")),
        ("None", ()),
        ("None mentioned.", ()),
        ("Not specified, N/A, none", ()),
        ("No weak tracks, not as good as the first", ("No weak tracks", "not as good as the first")),
        ("No filler, not memorable", ("No filler", "not memorable")),
        ("Not applicable, no negative aspects mentioned, nothing", ()),
    ],
)
def test_aspects_are_parted(told: str, expected: tuple[str, ...]):
    assert aspects(f"Positive Aspects: {told}\nSomething else: x")["likes"] == expected


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "line 2 of .* cannot be read as a teacher's annotation"),
        ({key: ROW[key] for key in ROW if key != "text"}, "line 2 of .*no 'text'"),
        ({**ROW, "summary": 5}, "line 2 of .* cannot be read"),
        ({**ROW, "rating": "good"}, "line 2 of .* cannot be read"),
        ("5", "line 2 of .* cannot be read"),
        ({key: TOLD[key] for key in TOLD if key != "item_history"}, "line 2 of .*no 'item_history'"),
        ({**TOLD, "reason": None}, "line 2 of .* cannot be read"),
        ({key: TOLD[key] for key in TOLD if key != "reason"}, "line 2 of .*no 'reason'"),
        ({key: ROW[key] for key in ROW if key != "summary"}, "line 2 of .*no 'summary'"),
        ({**ROW, "rating": 5.5}, r"line 2 of .*the rating 5\.5 is not from 1 to 5"),
        ({**ROW, "rating": float("nan")}, "line 2 of .*the rating nan is not"),
        ({**ROW, "item_id": 7}, "line 2 of .*item_id: Input should be a valid string"),
        ({**ROW, "text": "\ud800"}, "line 2 of .* cannot be read"),
        ("[" * 100_000, "line 2 of .* cannot be read"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, bad: dict | str, said: str):
    with pytest.raises(InputError, match=said) as error:
        list(read_annotations(file(tmp_path, ROW, bad)))
    assert "\n" not in str(error.value)


def test_what_editors_and_tools_add_is_no_matter(tmp_path: Path):
    path = file(tmp_path, "\ufeff" + json.dumps({**ROW, "headline": None}), "", ROW)
    assert len(list(read_annotations(path))) == 2


def test_a_damaged_archive_is_named(tmp_path: Path):
    path = file(tmp_path, *[{**ROW, "item_id": f"B{number}" * number} for number in range(200)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + b"\0" * 20 + whole[len(whole) // 2 + 20 :])
    with pytest.raises(InputError, match="cannot be read"):
        list(read_annotations(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        list(read_annotations(tmp_path / "nowhere"))


def test_rows_that_are_left_out_are_told(tmp_path: Path):
    empty = {**ROW, "summary": "Positive Aspects: None\nNegative Aspects: None"}
    passed: list[int] = []
    path = file(tmp_path, empty, ROW, {**ROW, "match": 0.01}, {**ROW, "summary": "It is good."})
    assert len(list(read_annotations(path, passed.append))) == 1
    assert passed == [1, 3, 4]


def test_annotations_are_kept_once_and_in_an_order_of_their_own(store: Store):
    made = [SummaryAnnotation(item_id=f"i{n}", text=f"Nice {n}", rating=5, likes=("Nice",)) for n in range(2000)]
    assert store.add_annotations(made[:1200], "one") == (1200, 0)
    assert store.add_annotations([*made, made[0]], "two") == (800, 1201)
    kept = store.annotations(SummaryAnnotation)
    assert sorted(kept, key=lambda each: int(each.item_id[1:])) == made
    assert store.annotations(SummaryAnnotation) == kept
    assert store.annotations(ReasonAnnotation) == []


def test_annotations_of_either_kind_are_kept_apart(store: Store):
    reason = ReasonAnnotation(title="It", text="The user likes it.")
    summary = SummaryAnnotation(item_id="i", text="Nice", rating=5, likes=("Nice",))
    assert store.add_annotations([reason, summary], "one") == (2, 0)
    assert store.annotations(ReasonAnnotation) == [reason]
    assert store.annotations(SummaryAnnotation) == [summary]
