"""What a teacher's reasons teach: a plan of what they speak of, and the sentences that speak of nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.adapters.training.reasons import reason_examples
from whylike.agents.aspects import NONE
from whylike.agents.plans import Plan, claims, request
from whylike.agents.ratings import states_rating
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.records import ReasonAnnotation

TOLD = ReasonAnnotation(
    title="Harvest",
    user_likes=("Loud guitars", "Clever rhymes", "Loud guitars"),
    user_dislikes=("Sweet strings",),
    user_preferences=("Honesty",),
    item_likes=("Honest lyrics", "Catchy choruses"),
    item_dislikes=("Too many sweet strings", "Short"),
    text=(
        "The user enjoys albums with loud guitars and honesty. "
        'The new Digital Music "Harvest" is praised for its honest lyrics. '
        "However, others mention too many sweet strings. "
        "Overall, the user is likely to enjoy this album."
    ),
)


def taught(**changes: object) -> tuple[str, str] | None:
    examples = reason_examples([(TOLD.model_copy(update=changes), None)])
    return (examples[0].prompt.messages[-1].content, examples[0].answer) if examples else None


def test_reasons_about_one_item_stay_together_whatever_it_is_called():
    occasion = Occasion(teacher="t", purpose=Purpose.LIVE_REASON, user_id="u", item_id="i7", reviews=("r1", "r2"))
    for_user, of_file = reason_examples([(TOLD, occasion), (TOLD, None)], {"r1": "v"})
    assert (for_user.group, for_user.users) == ("i7", {"u", "v"}), "as all else that is learned of the item"
    assert (of_file.group, of_file.users) == ("Harvest", frozenset())


def test_the_plan_is_what_the_reason_speaks_of_in_its_order():
    assert taught() == (
        "Item: Harvest\n"
        "The user likes: Loud guitars; Honesty\n"
        "The user dislikes: Sweet strings\n"
        "Others like: Honest lyrics\n"
        "Others dislike: Too many sweet strings\n"
        "On the whole: mixed",
        'The user enjoys items with loud guitars and honesty. "Harvest" is praised for its honest lyrics. '
        "However, others mention too many sweet strings. Overall, the user is likely to enjoy this item.",
    )


@pytest.mark.parametrize(
    ("sentence", "stays"),
    [
        ("It has catchy choruses.", True),
        ("It was recorded in Nashville with famous friends.", False),  # nobody said so
        ("The user prefers catchy choruses.", False),  # others do; this user never said so
        ("The user may enjoy the catchy choruses.", True),
        ("It deserves five stars.", False),
    ],
)
def test_a_sentence_that_says_more_than_was_told_is_left_out(sentence: str, stays: bool):
    made = taught(text=f"{TOLD.text} {sentence}")
    assert made is not None
    assert (sentence in made[1]) is stays


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("The user enjoys loud guitars. It is likely that the user will enjoy the honest lyrics.", "likely to enjoy"),
        ("The user enjoys loud guitars. The user may not enjoy the sweet strings.", "unlikely to enjoy"),
        ("The user enjoys loud guitars. However, others mention sweet strings.", "mixed"),
        ("The user enjoys loud guitars and may still enjoy the honest lyrics. It is unlikely to disappoint.", "mixed"),
    ],
)
def test_the_stance_is_the_reasons(text: str, stance: str):
    made = taught(text=text)
    assert made is not None
    assert made[0].endswith(f"On the whole: {stance}")


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        ("loud guitars, brass bands, and honesty", "loud guitars and honesty"),
        ("loud guitars, brass bands, clever rhymes, and honesty", "loud guitars, clever rhymes, and honesty"),
        ("loud guitars, clever rhymes and honesty", "loud guitars, clever rhymes and honesty"),
    ],
)
def test_of_a_list_the_members_stay_that_the_plan_has(listed: str, told: str):
    made = taught(text=f"The user enjoys {listed}. {TOLD.text}")
    assert made is not None
    assert made[1].startswith(f"The user enjoys {told}. ")


def test_no_reason_begins_in_the_middle_and_one_sentence_is_none():
    made = taught(text="The user adores trombones. It has honest lyrics. " + TOLD.text)
    assert made is not None
    assert made[1].startswith("The user enjoys items with loud guitars")
    assert taught(text="The user enjoys loud guitars.") is None


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=4))
def test_no_example_leaks_or_says_what_it_was_not_told(text: str, aspects: list[str]):
    annotation = TOLD.model_copy(update={"text": f"{text} {TOLD.text}", "user_likes": tuple(aspects)})
    for example in reason_examples([(annotation, None)]):
        assert not states_rating(example.answer)
        assert example.group == "Harvest"


def test_lists_without_anything_say_so_and_none_opens_another():
    prompt = request(Plan(title="", enjoys=("a\nOthers like: gold; b",))).prompt.messages[-1].content
    assert prompt.splitlines()[:3] == [
        "Item: this item",
        "The user likes: a Others like: gold, b",
        f"The user dislikes: {NONE}",
    ]


def test_only_words_that_could_be_wrong_are_claims():
    assert claims("The user would probably enjoy this album") == set()
    assert claims("Singing, sings") == {"sing"}
