"""Examples: what is shown, what is learned, and who is on which side of a split."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from whylike.adapters.engines.base import Message, Prompt
from whylike.adapters.engines.model import find_base
from whylike.adapters.engines.rendering import Renderer
from whylike.adapters.training.examples import IGNORED, Example, hash_of, split, tokens
from whylike.adapters.training.summaries import summary_examples
from whylike.adapters.training.trainer import Recipe, ordered, padding
from whylike.agents import aspects
from whylike.records import RatingScale, Review, SummaryAnnotation
from whylike.settings import Settings

PINNED = "6ec175f4cb50b1631383d9dc2e86a227b004b41f66d3763d7bff42d9bf2c2448"
"""What the cards of adapters that were trained on this would say."""


def example(group: str, answer: str = "yes") -> Example:
    return Example(prompt=Prompt(messages=(Message(role="user", content="Well?"),)), answer=answer, group=group)


@given(st.lists(st.text(max_size=5)), st.floats(0, 1), st.integers(0, 99))
def test_a_group_is_on_one_side_wherever_it_is_met(groups: list[str], share: float, seed: int):
    examples = [example(group) for group in groups]
    kept, held = split(examples, share, seed)
    assert not {each.group for each in kept} & {each.group for each in held}
    assert sorted([*kept, *held], key=repr) == sorted(examples, key=repr)
    assert split(examples[::-1], share, seed) == (kept[::-1], held[::-1])


class Later(Example):
    """What an example may become."""

    more: int = 0


def test_data_are_known_by_the_same_hash_when_examples_have_gained_a_field():
    known = example("i1").model_dump()
    assert hash_of([Later(**known)]) == hash_of([example("i1")]) == PINNED
    others = ([Later(**known, more=1)], [example("i1", "no")], [example("i1")] * 2, [])
    assert len({hash_of(each) for each in others} | {PINNED}) == 5


def test_about_the_share_of_the_groups_is_held():
    _, held = split([example(str(number)) for number in range(2000)], 0.1, 0)
    assert 150 < len(held) < 250


def test_only_the_answer_is_learned(tiny: Path):
    base = find_base(Settings(model=str(tiny)))
    asked = example("g", "Liked: <|im_end|>")
    row = tokens(asked, Renderer(base.tokenizer), base.tokenizer)
    learned = [label for label in row["labels"] if label != IGNORED]
    assert row["labels"] == [IGNORED] * (len(row["labels"]) - len(learned)) + learned
    assert row["input_ids"][-len(learned) :] == learned
    assert base.tokenizer.decode(learned[:-1]) == "Liked: <|im_end|>"
    assert learned[-1] == base.tokenizer.eos_token_id
    assert base.tokenizer.eos_token_id not in learned[:-1], "what the answer spells is plain text"
    assert len(row["input_ids"]) == len(row["labels"])


def test_a_summary_is_taught_as_the_summarizer_is_asked():
    told = SummaryAnnotation(item_id="i", title="Dull", text="It drags.", rating=2, dislikes=("drags",))
    review = Review(review_id="r", user_id="u", item_id="i", rating=2, title="Dull", text="It drags.", timestamp=5)
    [made] = summary_examples([told])
    assert made.prompt == aspects.request(review, RatingScale()).prompt
    assert aspects.read(made.answer) == aspects.Lists((), ("drags",), ())
    assert made.group == "i"


def test_of_a_summary_only_what_the_student_is_shown_is_learned():
    text = "Warm sound. " + "word " * aspects.WORDS + "Thin paper."
    told = SummaryAnnotation(item_id="i", text=text, rating=4, likes=("Warm sounds", "Joy"), dislikes=("Thin paper",))
    [made] = summary_examples([told])
    assert aspects.read(made.answer) == aspects.Lists(("Warm sounds",), (), ())
    assert summary_examples([told.model_copy(update={"likes": ("Joy",)})]) == []


def test_the_summaries_of_bad_ratings_are_learned_more_often():
    ten = RatingScale(minimum=1, maximum=10)
    rated = [(1, RatingScale()), (2, RatingScale()), (3, RatingScale()), (4, RatingScale()), (3, ten), (6, ten)]
    told = [
        SummaryAnnotation(item_id="i", text="Good.", rating=rating, scale=scale, likes=("Good",))
        for rating, scale in rated
    ]
    assert [made.times for made in summary_examples(told)] == [6, 6, 2, 1, 6, 1]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 8), st.integers(1, 3), st.integers(0, 9))
def test_every_epoch_has_every_example_in_whole_batches(lengths: list[int], batch: int, epochs: int, seed: int):
    recipe = Recipe(batch=batch, epochs=epochs, seed=seed)
    order = ordered(lengths, recipe)
    assert order == ordered(lengths, recipe)
    steps = -(-len(lengths) // batch)
    assert len(order) == steps * batch * epochs
    for epoch in range(epochs):
        part = order[epoch * steps * batch : (epoch + 1) * steps * batch]
        assert set(part) == set(range(len(lengths)))


def test_a_batch_has_examples_of_like_length():
    lengths = [number % 100 for number in range(1600)]
    order = ordered(lengths, Recipe(batch=16, epochs=1))
    spreads = [
        max(lengths[index] for index in order[first : first + 16])
        - min(lengths[index] for index in order[first : first + 16])
        for first in range(0, 1600, 16)
    ]
    assert sum(spreads) / len(spreads) < 10


def test_padding_is_what_is_computed_beyond_the_examples():
    assert padding([3, 5, 4], at_once=2, multiple=1) == round(1 - 12 / 14, 4)
    assert padding([3, 5, 4], at_once=2, multiple=4) == round(1 - 12 / 20, 4)
    assert padding([7, 7], at_once=2, multiple=1) == 0
