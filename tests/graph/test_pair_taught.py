"""A Reasoner that was taught: it writes freely from a plan, and only what reviews support is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from whylike.adapters.engines.base import Adapter, Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.explanation import Explanation
from whylike.graph.pair import Event, Services, explain
from whylike.records import Expert

TEXT = (
    "The user dislikes slimy rubber creatures on wires. "
    "It was filmed in Peru with a real whale. "
    "The user would give it 5 stars. "
    "Overall, the user is likely to enjoy this item."
)


@pytest.fixture
def engine() -> ScriptedEngine:
    adapter = Adapter(version="reasoner-01234567", folder=Path("nowhere"))
    return ScriptedEngine({Expert.REASONER: lambda _: TEXT}, adapters={Expert.REASONER: adapter})


def plans(engine: ScriptedEngine) -> list[str]:
    asked = [each for each in engine.history if isinstance(each, Writing) and each.expert is Expert.REASONER]
    return [each.prompt.messages[-1].content for each in asked if each.grammar is None]


def test_only_what_reviews_support_is_told(
    engine: ScriptedEngine,
    opened: Callable[..., AbstractContextManager[Services]],
    well_formed: Callable[[Explanation], None],
):
    with opened(engine) as services:
        answer = explain(services, "ann", "ice")
        again = explain(services, "ann", "ice")
    well_formed(answer)
    assert answer.reason is not None
    assert [sentence.text for sentence in answer.reason.sentences] == [
        "The user dislikes slimy rubber creatures on wires.",
        "Overall, the user is likely to enjoy this item.",
    ]
    assert again.reason == answer.reason
    assert answer.adapters["reasoner"] == "reasoner-01234567"
    [plan] = plans(engine)
    assert plan.startswith("Item: The Long Ice\nThe user likes: ")
    assert "zanzibar" not in plan, "the user's own review of the item"


@pytest.mark.parametrize("text", ["It was filmed in Peru. The user is a plumber.", ""])
def test_where_nothing_of_it_is_left_a_grammar_holds_the_reason(
    text: str, opened: Callable[..., AbstractContextManager[Services]], well_formed: Callable[[Explanation], None]
):
    adapter = Adapter(version="reasoner-01234567", folder=Path("nowhere"))
    held = ScriptedEngine()

    def writes(request: Writing) -> str:
        return held.write([request])[0].text if request.grammar else text

    engine = ScriptedEngine({Expert.REASONER: writes}, adapters={Expert.REASONER: adapter})
    with opened(engine) as services:
        answer = explain(services, "ann", "ice")
    well_formed(answer)
    assert answer.reason is not None
    assert all(sentence.supported for sentence in answer.reason.sentences)
    assert "Peru" not in answer.reason.text
    assert len(plans(engine)) == 1


def test_of_a_newcomer_the_reason_is_held_by_a_grammar(
    opened: Callable[..., AbstractContextManager[Services]],
):
    adapter = Adapter(version="reasoner-01234567", folder=Path("nowhere"))
    engine = ScriptedEngine(adapters={Expert.REASONER: adapter})
    with opened(engine) as services:
        answer = explain(services, "nobody", "ice")
    assert answer.reason is not None
    assert answer.reason.text.startswith("The user has written no reviews yet")
    assert not plans(engine)


def test_of_a_taught_summary_a_reason_quotes_what_the_reviewer_wrote(
    opened: Callable[..., AbstractContextManager[Services]], well_formed: Callable[[Explanation], None]
):
    adapter = Adapter(version="summarizer-01234567", folder=Path("nowhere"))
    engine = ScriptedEngine(
        {Expert.SUMMARIZER: lambda _: "Liked: Creature of rubber; Charm\nDisliked: none\nCares about: Craft"},
        {Expert.SUMMARIZER: lambda request: (0.9, 0.1) if "rubber" in str(request.prompt) else (0.5, 0.5)},
        adapters={Expert.SUMMARIZER: adapter},
    )
    with opened(engine) as services:
        answer = explain(services, "ann", "ice")
    well_formed(answer)
    assert answer.reason is not None
    assert all(sentence.supported for sentence in answer.reason.sentences)
    assert "“A creature made of slimy rubber and wires”" in answer.reason.text
    assert "“Slimy rubber creatures on wires”" in answer.reason.text
    assert "Creature of rubber" not in answer.reason.text
    [of_ben] = [each.summary for each in answer.evidence if each.id == "r5"]
    assert of_ben.likes == ["Creature of rubber"]
    assert (of_ben.praise, of_ben.blame) == (["A creature made of slimy rubber and wires"], [])


@pytest.mark.parametrize("text", [TEXT, "It was filmed in Peru."])
def test_what_is_not_told_is_not_shown_either(text: str, opened: Callable[..., AbstractContextManager[Services]]):
    adapter = Adapter(version="reasoner-01234567", folder=Path("nowhere"))
    held = ScriptedEngine()

    def writes(request: Writing) -> str:
        return held.write([request])[0].text if request.grammar else text

    engine = ScriptedEngine({Expert.REASONER: writes}, adapters={Expert.REASONER: adapter})
    shown = {"reason": "", "draft": ""}

    def hear(event: Event) -> None:
        if event.node in shown:
            shown[event.node] += event.text

    with opened(engine) as services:
        answer = explain(services, "ann", "ice", on_event=hear)
    assert answer.reason is not None
    assert shown == {"reason": answer.reason.text, "draft": text}


def test_of_a_text_that_was_cut_off_the_whole_sentences_are_told(
    opened: Callable[..., AbstractContextManager[Services]], monkeypatch: pytest.MonkeyPatch
):
    adapter = Adapter(version="reasoner-01234567", folder=Path("nowhere"))
    engine = ScriptedEngine({Expert.REASONER: lambda _: TEXT * 9}, adapters={Expert.REASONER: adapter})
    monkeypatch.setattr("whylike.agents.plans.MAX_TOKENS", 30)
    with opened(engine) as services:
        answer = explain(services, "ann", "ice")
        asked = len(plans(engine))
        again = explain(services, "ann", "ice")
    assert answer.reason is not None
    assert [each.text for each in answer.reason.sentences] == ["The user dislikes slimy rubber creatures on wires."]
    assert again.reason == answer.reason
    assert len(plans(engine)) == asked, "it is not asked for again"
