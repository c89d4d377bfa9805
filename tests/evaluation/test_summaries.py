"""How summaries are scored against a teacher's, on reviews that no training sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lettered import Letters

from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.adapters.training.summaries import summary_examples
from whylike.adapters.training.teach import held_out
from whylike.errors import UsageError
from whylike.evaluation import summaries
from whylike.evaluation.summaries import agreeing, agreement, evaluate_summaries, held_annotations, rouge_l
from whylike.memory.store import Store
from whylike.records import Expert, SummaryAnnotation
from whylike.settings import Settings

ASPECTS = st.lists(st.sampled_from("abcdefg"), unique=True, max_size=5)
SETTINGS = Settings(engine="scripted")


def annotation(number: int, likes: tuple[str, ...] = (), text: str = "") -> SummaryAnnotation:
    return SummaryAnnotation(
        item_id=f"i{number}", text=text or f"Warm sound, number {number}.", rating=4, likes=likes or ("warm sound",)
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Settings(store=tmp_path / "store")) as opened:
        yield opened


# --- agreement


def test_aspects_agree_one_to_one_and_within_their_list():
    review = [(("sound is great", "singing", "case"), ("sound", "length")), (("lasting",), ("cover",))]
    found = agreement([review], ["i"], Letters(), 0)
    # “sound” agrees with one of the two that begin with s; l and c are in the other list.
    assert (found.found, found.wanted, found.agreeing) == (4, 3, 1)
    assert (found.precision, found.recall) == (0.25, pytest.approx(1 / 3, abs=1e-4))
    assert found.f1.value == found.f1.low == found.f1.high == pytest.approx(2 / 7, abs=1e-4)


def test_the_interval_is_of_drawing_the_items():
    right, wrong = [(("sound",), ("song",))], [(("sound",), ("cover",))]
    items = [f"i{number}" for number in range(20)]
    found = agreement([right, wrong] * 10, items, Letters(), 0)
    assert 0.2 < found.f1.low < found.f1.value == 0.5 < found.f1.high < 0.8
    assert found == agreement([right, wrong] * 10, items, Letters(), 0)
    balanced = agreement([right, wrong] * 10, [f"i{number // 2}" for number in range(20)], Letters(), 0)
    assert balanced.f1.low == balanced.f1.high == 0.5, "every item has one of each"


def test_nothing_found_and_nothing_wanted_is_no_error():
    found = agreement([[((), ())]], ["i"], Letters(), 0)
    assert (found.precision, found.recall, found.f1.value) == (0, 0, 0)


@settings(max_examples=30)
@given(ASPECTS, ASPECTS)
def test_agreeing_lists_are_those_that_share_meanings(ours, theirs):
    embedder = Letters()
    assert agreeing(embedder, ours, theirs) == len({*ours} & {*theirs}) == agreeing(embedder, theirs, ours)


def test_rouge_l_counts_the_longest_words_in_a_row_with_gaps():
    # “warm sound” of two and four words: precision 1, recall 1/2.
    assert rouge_l([("Warm sound",)], [("warm, deep sound", "price")]) == pytest.approx(2 / 3, abs=1e-4)
    assert rouge_l([("warm",), ()], [("warm",), ("sound",)]) == 0.5


# --- what is evaluated


def test_only_items_that_no_training_sees_are_evaluated(store: Store):
    every = [annotation(number) for number in range(60)]
    store.add_annotations(every, "test")
    held = held_annotations(store, None, 0)
    learned, left_out = held_out(summary_examples(every))
    assert {each.item_id for each in held} == {each.group for each in left_out}
    assert not {each.item_id for each in held} & {each.group for each in learned}
    some = held_annotations(store, 2, 1)
    assert len(some) == 2
    assert some == held_annotations(store, 2, 1)
    assert {each.item_id for each in some} < {each.item_id for each in held}


def test_without_annotations_there_is_nothing_to_evaluate(store: Store):
    with pytest.raises(UsageError, match=r"0 in all.*whylike annotate --import FILE"):
        held_annotations(store, None, 0)


# --- the whole


@pytest.fixture
def adapter(tmp_path: Path) -> Adapter:
    (tmp_path / "adapter_config.json").touch()
    return Adapter(version="summarizer-00000000", folder=tmp_path)


def test_all_ways_are_measured(monkeypatch: pytest.MonkeyPatch, adapter: Adapter):
    monkeypatch.setattr(summaries, "Embedder", Letters)
    wanted = [
        annotation(1, ("great sound",), "Great warm sound. The cover tore at once."),
        annotation(2, ("bright voices", "x-ray"), "Slow plot but bright voices."),
    ]
    news = []
    engine = ScriptedEngine()
    found = evaluate_summaries(SETTINGS, engine, wanted, adapter, told=lambda *told: news.append(told))
    assert (found.reviews, found.items) == (2, 2)
    assert list(found.ways) == ["adapter", "base judged", "base written"]
    assert [way.adapter for way in found.ways.values()] == [adapter.version, "base:scripted", "base:scripted"]
    assert found.settings.adapters[Expert.SUMMARIZER] == adapter.version
    assert {way.aspects.wanted for way in found.ways.values()} == {3}
    judged = found.ways["base judged"]
    assert (judged.valid, judged.repeated_when_written, judged.invented) == (None, None, 0)
    assert judged.aspects.found
    written = found.ways["base written"]
    assert written.valid is not None
    assert written.preferences is None
    assert found.ways["adapter"].preferences
    assert found.teacher.invented == pytest.approx(1 / 3, abs=1e-4), "x-ray"
    assert found.teacher.invented_elsewhere == 1
    assert {step for step, *_ in news} == {
        "the adapter writes",
        "the base model judges phrases",
        "the base model writes",
    }


def test_without_an_adapter_only_the_base_model_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(summaries, "Embedder", Letters)
    found = evaluate_summaries(SETTINGS, ScriptedEngine(), [annotation(1)], None)
    assert list(found.ways) == ["base judged", "base written"]
    assert found.teacher.invented_elsewhere is None, "there is no other item"


def test_the_base_model_can_be_left_out(monkeypatch: pytest.MonkeyPatch, adapter: Adapter):
    monkeypatch.setattr(summaries, "Embedder", Letters)
    found = evaluate_summaries(SETTINGS, ScriptedEngine(), [annotation(1)], adapter, base=False)
    assert list(found.ways) == ["adapter"]
