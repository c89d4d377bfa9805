"""How summaries are scored against a teacher's, and how a model is left to write them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from whylike.adapters.engines.base import Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.phrases import WORDS
from whylike.errors import InputError
from whylike.evaluation import summaries
from whylike.evaluation.summaries import TeacherRow, bench_summaries, score, teacher_rows
from whylike.evaluation.writing import read_lists, write_summaries
from whylike.memory.embeddings import Embedder
from whylike.records import Expert, RatingScale, Review, ReviewSummary
from whylike.settings import Settings


class Letters(Embedder):
    """Vectors by first letter: texts that begin alike mean the same."""

    def _encode(self, texts: list[str]) -> np.ndarray:
        return np.eye(self.dimension, dtype=np.float32)[[ord(text[0].lower()) for text in texts]]


def review(text: str, review_id: str = "r") -> Review:
    return Review(review_id=review_id, user_id="u", item_id="i", rating=4, text=text, timestamp=0)


def summary(likes: Sequence[str], dislikes: Sequence[str]) -> ReviewSummary:
    return ReviewSummary(review_id="r", likes=tuple(likes), dislikes=tuple(dislikes), adapter_version="v")


def teacher_row(
    positive: str, negative: str, match: float = 0.9, text: str = "Great sound, poor cover."
) -> dict[str, object]:
    said = f"Positive Aspects: {positive}\nNegative Aspects: {negative}\nUser Preference Elements: quality"
    return {"title": "T", "rating": 4.0, "text": text, "summary": said, "match": match}


def write_teacher(folder: Path, rows: Sequence[object]) -> Path:
    file = folder / "review_summaries.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(f"{json.dumps(row)}\n" for row in rows)
    return file


# --- scores


def test_aspects_agree_one_to_one_and_within_their_list() -> None:
    row = TeacherRow(review("The sound is great; a bad cover"), ["sound", "length"], ["cover"])
    found = score([summary(["sound is great", "singing", "case"], ["lasting"])], Letters(), [row])
    # “sound” agrees with one of the two that begin with s; l and c are in the other list.
    assert (found.found, found.wanted, found.agreeing) == (4, 3, 1)
    assert (found.precision, found.recall) == (0.25, pytest.approx(1 / 3, abs=1e-4))
    assert found.f1 == pytest.approx(2 / 7, abs=1e-4)


def test_word_for_word_means_whole_words_in_a_row() -> None:
    row = TeacherRow(review("The sound is GREAT, though; a bad cover"), [], [])
    found = score([summary(["sound is great", "great though", "und is"], ["bad  cover!"])], Letters(), [row])
    assert found.verbatim == 0.75


def test_nothing_found_and_nothing_wanted_is_no_error() -> None:
    found = score([summary([], [])], Letters(), [TeacherRow(review("Fine."), [], [])])
    assert (found.precision, found.recall, found.f1, found.verbatim) == (0, 0, 0, 0)


# --- the teacher's file


def test_the_teachers_lists_are_read(tmp_path: Path) -> None:
    (row,) = teacher_rows(write_teacher(tmp_path, [teacher_row("Great sound, voice", "None")]), 10, 0)
    assert (row.likes, row.dislikes) == (["Great sound", "voice"], [])
    assert (row.review.text, row.review.rating) == ("Great sound, poor cover.", 4.0)


def test_rows_that_are_joined_badly_are_left_out_and_a_seed_gives_the_same_sample(tmp_path: Path) -> None:
    rows = [teacher_row("sound", "cover", 0.1 + n / 50, f"Text {n}.") for n in range(40)]
    file = write_teacher(tmp_path, rows)
    assert len(teacher_rows(file, 100, 0)) == sum(row["match"] >= 0.2 for row in rows)
    assert teacher_rows(file, 5, 3) == teacher_rows(file, 5, 3) != teacher_rows(file, 5, 4)


@pytest.mark.parametrize("rows", [[], [{"match": 0.9}], ["text"], [teacher_row("a", "b", 0.1)]], ids=str)
def test_a_file_that_is_not_the_teachers_is_bad_input(tmp_path: Path, rows: list[object]) -> None:
    with pytest.raises(InputError, match="cannot be read as teacher summaries"):
        teacher_rows(write_teacher(tmp_path, rows), 10, 0)


@pytest.mark.parametrize("content", [None, b"plain text", gzip.compress(b"{}\n" * 1000)[:-10]])
def test_a_file_that_is_missing_not_gzip_or_cut_off_is_bad_input(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "teacher.gz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(file))):
        teacher_rows(file, 10, 0)


# --- written summaries


def test_an_answer_is_read_back() -> None:
    assert read_lists("Liked: warm sound; a; a\nDisliked: none") == (("warm sound", "a"), ())
    assert read_lists("Liked: none\nDisliked: loud; the end") == ((), ("loud", "the end"))
    assert read_lists("Liked: cut off in the mid") == (("cut off in the mid",), ())


def test_what_the_grammar_allows_can_be_read() -> None:
    reviews = [review("Warm voices with gentle strings and some noise. " * 3, f"r{n}") for n in range(20)]
    engine = ScriptedEngine()
    news = []
    made = write_summaries(engine, reviews, RatingScale(), lambda *told: news.append(told), batch=8)
    assert [each.review_id for each in made] == [each.review_id for each in reviews]
    assert news == [(8, 20), (16, 20), (20, 20)]
    for each in made:
        for listed in (each.likes, each.dislikes):
            assert len(listed) <= 4
            assert all(aspect and ";" not in aspect and "\n" not in aspect for aspect in listed)
    assert any(each.likes for each in made)


def test_the_model_is_shown_two_examples_and_the_review_as_one_line() -> None:
    engine = ScriptedEngine({Expert.SUMMARIZER: lambda request: "Liked: none\nDisliked: none"})
    write_summaries(engine, [review("Fine.\nDisliked: $text " + "word " * 1000)], RatingScale(), lambda *_: None)
    (asked,) = engine.history
    assert isinstance(asked, Writing)
    assert len(asked.prompt.messages) == 6
    said = asked.prompt.messages[-1].content
    assert said.startswith("Rating 4 of 5. Fine. Disliked: $text word")
    assert "\n" not in said
    assert len(said.split()) <= WORDS + 4


def test_the_benchmark_measures_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "Embedder", Letters)
    texts = ["Great warm sound. The cover tore at once.", "Slow plot but bright voices."]
    rows = [TeacherRow(review(text, f"r{n}"), ["great sound"], ["cover"]) for n, text in enumerate(texts)]
    news = []
    bench = bench_summaries(Settings(engine="scripted"), ScriptedEngine(), rows, lambda *told: news.append(told))
    assert bench.reviews == 2
    assert bench.judged.score.verbatim == 1
    assert bench.judged.score.wanted == bench.written.score.wanted == 4
    assert {step for step, *_ in news} == {"loading the model", "judging phrases", "writing lists"}
