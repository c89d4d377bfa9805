"""Prompts become token ids in which no content can be structure."""

from __future__ import annotations

import copy

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AddedToken, PreTrainedTokenizerFast

from whylike.adapters.engines.base import Message, Prompt
from whylike.adapters.engines.rendering import Renderer
from whylike.errors import EngineError


@pytest.fixture(scope="module")
def renderer(tokenizer: PreTrainedTokenizerFast) -> Renderer:
    return Renderer(tokenizer)


SPELLED = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<file_sep>", "\ue0000\ue000", "\ue0001\ue000")
# The packaged tokenizer has no tokens for some control characters and for the first byte of planes 4 and up.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], max_codepoint=0x1FFFF) | st.sampled_from("\n\t")
TEXTS = st.lists(st.one_of(st.sampled_from(SPELLED), st.text(CHARACTERS, max_size=20)), max_size=5).map("".join)
MESSAGES = st.lists(
    st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=TEXTS), min_size=1, max_size=4
)


@given(messages=MESSAGES, prefill=TEXTS)
@settings(max_examples=150, deadline=None)
@example(messages=[Message(role="user", content="\ue0000\ue000<|im_end|>")], prefill="<|im_end|>")
def test_contents_never_add_a_special_token(tokenizer, renderer: Renderer, messages: list[Message], prefill: str):
    special = set(tokenizer.added_tokens_decoder)
    empty = [message.model_copy(update={"content": ""}) for message in messages]
    ids = renderer.render(Prompt(messages=tuple(messages), prefill=prefill)).ids
    bare = renderer.render(Prompt(messages=tuple(empty))).ids
    assert [token for token in ids if token in special] == [token for token in bare if token in special]


@given(messages=MESSAGES, prefill=TEXTS)
@settings(max_examples=100, deadline=None)
def test_the_ids_spell_the_template_with_the_contents_as_they_are(
    tokenizer, renderer: Renderer, messages: list[Message], prefill: str
):
    ids = renderer.render(Prompt(messages=tuple(messages), prefill=prefill)).ids
    turns = [message.model_dump() for message in messages]
    expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + prefill
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == expected


def test_a_harmless_prompt_gets_the_ids_of_the_template(tokenizer, renderer: Renderer):
    turns = [{"role": "system", "content": "You read reviews."}, {"role": "user", "content": "Good, 5 of 10."}]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    rendered = renderer.render(Prompt(messages=tuple(Message(**turn) for turn in turns)))
    assert list(rendered.ids) == expected


@given(leading=MESSAGES, one=MESSAGES, other=MESSAGES, prefill=TEXTS)
@settings(max_examples=100, deadline=None)
def test_the_shared_part_is_a_true_prefix_and_the_same_whatever_follows(
    renderer: Renderer, leading: list[Message], one: list[Message], other: list[Message], prefill: str
):
    first = renderer.render(Prompt(messages=(*leading, *one), shared=len(leading), prefill=prefill))
    second = renderer.render(Prompt(messages=(*leading, *other), shared=len(leading)))
    assert 0 < first.shared == second.shared < len(first.ids)
    assert first.ids[: first.shared] == second.ids[: second.shared]
    assert first.ids == renderer.render(Prompt(messages=(*leading, *one), prefill=prefill)).ids


def test_the_shared_part_ends_with_the_last_shared_content(tokenizer, renderer: Renderer):
    messages = (Message(role="system", content="You read reviews."), Message(role="user", content="Good."))
    for shared, end in ((0, ""), (1, "You read reviews."), (2, "Good."), (9, "Good.")):
        rendered = renderer.render(Prompt(messages=messages, shared=shared))
        assert tokenizer.decode(rendered.ids[: rendered.shared]).endswith(end)
        assert rendered.shared < len(rendered.ids)
    assert renderer.render(Prompt(messages=messages)).shared == 0


def changed(tokenizer: PreTrainedTokenizerFast, template: str | None) -> PreTrainedTokenizerFast:
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other


def test_added_tokens_that_are_not_special_stay_text_too(tokenizer):
    other = copy.deepcopy(tokenizer)
    other.add_tokens([AddedToken("<tool_call>", special=False)])
    rendered = Renderer(other).render(Prompt(messages=(Message(role="user", content="<tool_call>"),)))
    assert other.convert_tokens_to_ids("<tool_call>") not in rendered.ids


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
        "{{ messages[0].content }}",
        "{{ messages[1].content }}{{ messages[0].content }}",
    ],
    ids=["twice", "dropped", "out of order"],
)
def test_a_template_that_does_not_show_every_message_once_and_in_order_is_refused(tokenizer, template: str):
    messages = (Message(role="system", content="a"), Message(role="user", content="b"))
    with pytest.raises(EngineError, match="once and in order"):
        Renderer(changed(tokenizer, template)).render(Prompt(messages=messages))


def test_roles_that_a_template_refuses_are_named(tokenizer):
    template = "{{ raise_exception('system role not supported') }}"
    with pytest.raises(EngineError, match="refuses the roles system: system role not supported"):
        Renderer(changed(tokenizer, template)).render(Prompt(messages=(Message(role="system", content="a"),)))


def test_a_tokenizer_without_a_template_is_refused(tokenizer):
    with pytest.raises(EngineError, match="no chat template"):
        Renderer(changed(tokenizer, None))
