"""Compiled grammars are kept within bounds; text is told whole characters at a time and nothing of a stop string."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whylike.adapters.engines import grammar as grammars
from whylike.adapters.engines.grammar import Grammars
from whylike.adapters.engines.text import Text
from whylike.errors import EngineError


@pytest.fixture
def compiled(tokenizer) -> Grammars:
    return Grammars(tokenizer, len(tokenizer) + 7, [tokenizer.eos_token_id])


def allowed(guide, size: int) -> list[int]:
    scores = torch.zeros(size)
    guide.mask(scores)
    return torch.isfinite(scores).nonzero().flatten().tolist()


def test_a_mask_leaves_what_may_come_next_and_the_end_where_it_may_end(compiled: Grammars, tokenizer):
    size = len(tokenizer) + 7
    guide = compiled.guide('start: "a" "b"?')
    assert tokenizer.convert_ids_to_tokens(allowed(guide, size)) == ["a", "ab"]
    guide.accept(tokenizer.convert_tokens_to_ids("a"))
    assert not guide.finished
    assert set(tokenizer.convert_ids_to_tokens(allowed(guide, size))) == {"b", tokenizer.eos_token}
    guide.accept(tokenizer.convert_tokens_to_ids("b"))
    assert guide.finished
    assert allowed(guide, size) == [tokenizer.eos_token_id], "a finished text may only end"


def test_guides_of_one_grammar_do_not_share_their_place(compiled: Grammars, tokenizer):
    one, other = (compiled.guide('start: "a" "b"') for _ in range(2))
    before = allowed(other, len(tokenizer) + 7)
    one.accept(before[0])
    assert allowed(other, len(tokenizer) + 7) == before


def test_compiled_grammars_are_kept_within_bounds(compiled: Grammars, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grammars, "KEPT", 2)
    made: list[str] = []
    matcher = grammars.LLMatcher
    monkeypatch.setattr(
        grammars,
        "LLMatcher",
        lambda tokenizer, grammar, **rest: made.append(grammar) or matcher(tokenizer, grammar, **rest),
    )
    names = [f'start: "{letter}"' for letter in "abacab"]
    for name in names:
        compiled.guide(name)
    assert "".join(name[8] for name in made) == "abcb"
    assert len(compiled._compiled) == 2


def test_a_grammar_that_does_not_compile_is_not_kept(compiled: Grammars):
    for _ in range(2):
        with pytest.raises(EngineError, match="does not compile"):
            compiled.guide("start: (")
    assert not compiled._compiled


STOPS = st.lists(st.text("abé😀", min_size=1, max_size=3), max_size=3).map(tuple)


@settings(deadline=None, max_examples=300)
@example(text="aé", stops=("a",), cuts={2})
@given(text=st.text("abé😀", max_size=30), stops=STOPS, cuts=st.sets(st.integers(1, 80)))
def test_pieces_join_to_the_text_before_the_first_stop_string_however_the_bytes_are_cut(
    text: str, stops: tuple[str, ...], cuts: set[int]
):
    data = text.encode()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    grown, pieces, stopped = Text(stops), [], False
    for start, end in pairwise(edges):
        stopped = grown.add(data[start:end])
        if stopped:
            break
        pieces.append(grown.news())
    grown.add(b"", final=True)
    pieces.append(grown.news(final=True))
    ends = [(text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop in text]
    assert grown.text == "".join(pieces) == (text[: min(ends)[1]] if ends else text)
    assert stopped == bool(ends)


def test_a_character_that_is_cut_off_at_the_end_is_marked():
    grown = Text(())
    grown.add("é".encode()[:1])
    assert grown.news() == ""
    grown.add(b"", final=True)
    assert grown.news(final=True) == grown.text == "\ufffd"
