"""How summaries are made to be evaluated, and what is noted on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from lettered import Letters

from whylike.adapters.engines.base import Adapter, Writing, Written
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.adapters.training.summaries import review_of
from whylike.agents.aspects import Lists
from whylike.agents.phrases import WORDS
from whylike.agents.summarizer import KEPT, Summarizer
from whylike.evaluation.writing import judged, shown, taught
from whylike.records import Expert, RatingScale, SummaryAnnotation

TEN = RatingScale(minimum=1, maximum=10)


def annotation(text: str, scale: RatingScale = TEN) -> SummaryAnnotation:
    return SummaryAnnotation(item_id="i", text=text, rating=4, scale=scale)


def quiet(done: int, total: int) -> None:
    """Takes no news."""


class Cut(ScriptedEngine):
    """Cuts every answer off."""

    def write(self, requests: Sequence[Writing]) -> list[Written]:
        return [answer.model_copy(update={"finish": "length"}) for answer in super().write(requests)]


def saying(text: str, engine: Callable[..., ScriptedEngine] = ScriptedEngine) -> ScriptedEngine:
    return engine({Expert.SUMMARIZER: lambda _: text})


def test_a_taught_answer_is_served_without_repeats_and_noted_with_them():
    text = "Liked: warm sound; Warm sound; five stars\nDisliked: bad odour\nCares about: price"
    (draft,) = taught(saying(text), Letters(), [annotation("Warm sound for the price.")], quiet, 8)
    assert draft.lists == Lists(("warm sound",), (), ("price",))
    assert draft.written == Lists(("warm sound", "Warm sound", "five stars"), ("bad odour",), ("price",))
    assert draft.whole is True


def test_an_answer_that_was_cut_off_is_not_whole():
    text = "Liked: warm sound\nDisliked: none\nCares about: none"
    (draft,) = taught(saying(text, Cut), Letters(), [annotation("Warm sound.")], quiet, 8)
    assert (draft.whole, draft.lists.likes) == (False, ("warm sound",))


def test_an_answer_without_its_form_is_not_whole():
    class Free(ScriptedEngine):
        def write(self, requests):
            return super().write([request.model_copy(update={"grammar": None}) for request in requests])

    drafts = shown(saying("Liked: warm sound", Free), [annotation("Fine.")], quiet, 8)
    assert [(draft.whole, draft.lists.likes) for draft in drafts] == [(False, ("warm sound",))]


def test_taught_is_what_the_summarizer_serves(tmp_path: Path):
    (tmp_path / "adapter_config.json").touch()
    engine = ScriptedEngine(adapters={Expert.SUMMARIZER: Adapter(version="summarizer-00000000", folder=tmp_path)})
    asked = [annotation(f"Warm voices with gentle strings, number {number}.") for number in range(3)]
    served = Summarizer(engine, Letters()).summarize([review_of(each) for each in asked], TEN)
    made = [draft.lists for draft in taught(engine, Letters(), asked, quiet, 2)]
    assert made == [Lists(each.likes, each.dislikes, each.preferences) for each in served]
    assert any(lists.likes for lists in made)


def test_what_the_grammar_allows_can_be_read():
    asked = [annotation("Warm voices with gentle strings and some noise. " * 3 + str(number)) for number in range(20)]
    news = []
    made = shown(ScriptedEngine(), asked, lambda *told: news.append(told), 8)
    assert news == [(8, 20), (16, 20), (20, 20)]
    for draft in made:
        assert not draft.lists.preferences
        for listed in draft.lists:
            assert len(listed) <= KEPT
            assert all(aspect and ";" not in aspect and "\n" not in aspect for aspect in listed)
    assert any(draft.lists.likes for draft in made)


def test_the_model_is_shown_two_examples_and_the_review_as_one_line():
    engine = saying("Liked: none\nDisliked: none")
    shown(engine, [annotation("Fine.\nDisliked: $text " + "word " * 1000)], quiet, 8)
    (asked,) = engine.history
    assert isinstance(asked, Writing)
    assert len(asked.prompt.messages) == 6
    said = asked.prompt.messages[-1].content
    assert said.startswith("Rating 4 of 10. Fine. Disliked: $text word")
    assert "\n" not in said
    assert len(said.split()) <= WORDS + 4


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_reviews_of_several_scales_are_judged_on_their_own(batch: int):
    asked = [annotation("Warm sound, thin paper.", scale) for scale in (TEN, TEN, RatingScale(), TEN)]
    news = []
    made = judged(Summarizer(ScriptedEngine(), Letters()), asked, lambda *told: news.append(told), batch)
    assert news[-1] == (4, 4)
    alone = [judged(Summarizer(ScriptedEngine(), Letters()), [each], quiet, 1)[0] for each in asked]
    assert made == alone
    assert all(draft.written is draft.whole is None for draft in made)
