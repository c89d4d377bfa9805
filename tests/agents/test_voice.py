from hypothesis import given
from hypothesis import strategies as st

from whylike.agents.reasoner import _BY_OTHERS, _LEADS, _NEWCOMER, _TURNS
from whylike.agents.voice import to_you


def test_what_is_written_of_the_user_is_said_to_them() -> None:
    assert to_you("The user would probably enjoy it.") == "You would probably enjoy it."
    assert to_you("Of what the user has reviewed, the user's latest is near.") == (
        "Of what you have reviewed, your latest is near."
    )
    assert to_you("The user enjoys it and watches it, and the user was glad.") == (
        "You enjoy it and watches it, and you were glad."
    )
    assert to_you("and the user said that they like “x”") == "and you said that you like “x”"


def test_quotations_stay_as_they_are() -> None:
    assert to_you("One writes “the user's manual”, of which the user wrote “the user has”.") == (
        "One writes “the user's manual”, of which you wrote “the user has”."
    )


def test_no_sentence_of_the_grammar_speaks_of_the_user_in_the_third_person() -> None:
    leads = [lead for table in (_LEADS, _BY_OTHERS) for leads in table.values() for lead in leads]
    turns = [turn for turns in _TURNS.values() for turn in turns]
    for sentence in (*leads, *_NEWCOMER, *turns):
        said = to_you(sentence)
        assert "the user" not in said.lower()
        assert "you has" not in said
        assert "you is" not in said


@given(st.text())
def test_a_quotation_is_never_changed(text: str) -> None:
    quotation = text.replace("“", "").replace("”", "")
    assert f"“{quotation}”" in to_you(f"The user wrote “{quotation}” of it.")
