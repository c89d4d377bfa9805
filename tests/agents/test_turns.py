from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whylike.agents.turns import MASK, Turn, TurnRouter, labelled, masked, utterances
from whylike.errors import InputError
from whylike.evaluation.routing import evaluate_routing
from whylike.memory.embeddings import Embedder
from whylike.settings import Settings

LEAST = 0.92
"""Share of the utterances kept from the router that go the right way."""


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture(scope="module")
def router(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> TurnRouter:
    return TurnRouter(embedder, tmp_path_factory.mktemp("cache"))


def test_the_turns_kept_from_the_router_go_the_right_way(tmp_path: Path) -> None:
    found = evaluate_routing(Settings(cache=tmp_path))
    assert found.accuracy.value >= LEAST
    assert found.utterances >= 100
    assert set(found.turns) == set(Turn)


def test_what_the_router_was_taught_with_is_not_measured(tmp_path: Path) -> None:
    known = utterances()[0]
    mine = tmp_path / "mine.yaml"
    mine.write_text(f'why:\n  - "{known.text.upper()}"\n  - "is that slow western a thing for me"\n')
    assert evaluate_routing(Settings(cache=tmp_path), mine).utterances == 1
    mine.write_text(f'why:\n  - "{known.text}"\n')
    with pytest.raises(InputError, match="not taught"):
        evaluate_routing(Settings(cache=tmp_path), mine)


@pytest.mark.parametrize("text", ["", "- a", "why: 3", "why:\n  - 3", "lunch:\n  - hello", ":::", "\x00"])
def test_a_file_of_utterances_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    with pytest.raises(InputError, match=r"mine\.yaml"):
        evaluate_routing(Settings(cache=tmp_path), mine)


def test_what_was_learned_is_kept_for_the_next_time(embedder: Embedder, tmp_path: Path) -> None:
    why = ["would I like [Heat]", "why would I like it"]
    few = labelled({"why": why, "other": ["hello", "what is the time"], "forget": ["forget me"]})
    first = TurnRouter(embedder, tmp_path, few).route("would I like this")
    [kept] = tmp_path.iterdir()
    assert TurnRouter(embedder, tmp_path, few).route("would I like this") == first
    assert [*tmp_path.iterdir()] == [kept]
    TurnRouter(embedder, tmp_path, few[1:]).route("would I like this")
    assert len([*tmp_path.iterdir()]) == 2


def test_a_title_does_not_decide(router: TurnRouter) -> None:
    text = "would I like Forget Me Not"
    assert router.route(text, [(13, len(text))]).turn is Turn.WHY


@pytest.mark.parametrize("text", ["why", "why not", "why is it 3.6", "why so much", "how sure are you about this"])
def test_a_short_why_and_how_sure_are_heard(router: TurnRouter, text: str) -> None:
    found = router.route(text)
    assert found.turn is Turn.WHY
    assert found.sure


def test_the_mask_stands_for_each_name() -> None:
    assert masked("Heat or Alien?", [(0, 4), (8, 13)]) == f"{MASK} or {MASK}?"


@settings(max_examples=30)
@given(st.text(max_size=2000))
def test_any_text_is_routed(router: TurnRouter, text: str) -> None:
    found = router.route(text)
    assert 0 < found.probability <= 1
    assert found.turn != found.second
