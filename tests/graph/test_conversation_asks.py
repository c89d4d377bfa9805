"""What a conversation asks back, on the small corpus, with a scripted model and everything else real."""

from __future__ import annotations

import pytest
from conversing import Talk, everything, say

from whylike.agents import finding
from whylike.agents.turns import Routed, Turn
from whylike.graph.pair import Services
from whylike.memory.nearest import titles
from whylike.memory.store import Store
from whylike.records import Item, Review


def test_it_asks_which_item_where_two_fit(talk: Talk, services: Services) -> None:
    services.store.add_reviews(
        [Review(review_id="x", user_id="ben", item_id="ice2", rating=4, text="Cold and long.", timestamp=50)]
    )
    services.store.add_items([Item(item_id="ice2", title="The Long Ice", description="A skating film.")])
    with talk("dee") as conversation:
        question = say(conversation, "would I like The Long Ice?")
        assert "more than one of that name" in question
        assert "1. The Long Ice (ice) 2. The Long Ice (ice2)" in question
        say(conversation, "2")
        assert conversation.state["focus"] == ["ice2"]


def test_a_thing_that_another_items_title_has_is_asked_about(talk: Talk) -> None:
    with talk("dee") as conversation:
        say(conversation, "would I like The Long Ice")
        question = say(conversation, "is the waltz loud?")
        assert (
            "I am not sure which one “waltz” is. Which do you mean? 1. Waltz of the Clerks 2. The Long Ice" in question
        )
        assert "Waltz of the Clerks" in say(conversation, "1")
        assert conversation.state["focus"][0] == "waltz"
        assert "speak" in say(conversation, "how is the ending of it?")


def test_it_asks_about_the_thing_that_is_not_known_of_the_item_spoken_of_and_reads_all_titles_for_it_once(
    talk: Talk, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.store.add_items([Item(item_id="alien", title="Alien Dawn")])
    with talk("dee") as conversation:
        say(conversation, "would I like The Long Ice")
        read: list[Store] = []
        monkeypatch.setattr(finding, "titles", lambda store: read.append(store) or titles(store))
        question = say(conversation, "is the alien loud in the waltz?")
        assert question.startswith("I am not sure which one “waltz” is. Which do you mean? 1. Waltz of the Clerks 2. ")
        assert len(read) == 2, "for what is named, and for the thing"


def test_a_comparison_with_one_named_takes_the_other_as_it_is_described(talk: Talk, services: Services) -> None:
    services.store.add_items([Item(item_id="kettle", title="Swift Kettle 1.7 l", description="It boils water.")])
    with talk("dee") as conversation:
        answer = say(conversation, "which is better, the swift kettle or The Long Ice?")
        assert answer.startswith("Rather The Long Ice than Swift Kettle 1.7 l:")


def test_who_wants_none_of_what_is_offered_says_no(talk: Talk) -> None:
    with talk("dee") as conversation:
        say(conversation, "would I like The Long Ice")
        assert say(conversation, "is the waltz loud?").endswith("->")
        assert say(conversation, "no") == "Then I leave it."


def test_a_name_that_two_items_share_is_taken_out_of_a_question_once(talk: Talk, services: Services) -> None:
    services.store.add_items([Item(item_id="ice2", title="The Long Ice", description="A skating film.")])
    with talk("dee") as conversation:
        say(conversation, "what do the reviewers of The Long Ice say about the ending?")
        assert "speaks of “ending”" in say(conversation, "1")


def test_it_asks_which_item_where_none_is_known(talk: Talk) -> None:
    with talk("dee") as conversation:
        assert "Which item do you mean?" in say(conversation, "would I like it?")
        assert "Waltz of the Clerks: I expect" in say(conversation, "Waltz of the Clerks")


@pytest.mark.parametrize("question", ["no, I love clerks", "would I like it?", "I saw Tarts at Dawn, 4 stars, so warm"])
def test_what_is_said_in_place_of_an_answer_is_a_turn_of_its_own(talk: Talk, services: Services, question: str) -> None:
    with talk("dee") as conversation:
        assert say(conversation, question).endswith("->")
        before = everything(services)
        assert "Waltz of the Clerks: I expect" in say(conversation, "would I like Waltz of the Clerks?")
        assert everything(services) == before
        assert conversation.question is None


def test_where_it_is_not_sure_it_asks_what_is_wanted(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    with talk("dee") as conversation:
        say(conversation, "")
        routed = conversation._talking.router.route("hello")
        unsure = routed.model_copy(update={"turn": Turn.WHY, "second": Turn.PROFILE, "probability": 0.3})
        with monkeypatch.context() as patched:
            patched.setattr(conversation._talking.router, "route", lambda *_: unsure)
            assert "I am not sure what you want" in say(conversation, "Waltz of the Clerks, me")
        assert "I have 2 reviews by you" in say(conversation, "2")
        with monkeypatch.context() as patched:
            patched.setattr(conversation._talking.router, "route", lambda *_: unsure)
            say(conversation, "Waltz of the Clerks, me")
        assert "Waltz of the Clerks: I expect" in say(conversation, "yes"), "the likelier is asked about first"


def test_what_only_comes_near_is_not_offered_as_what_was_named(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "FOUND", 0.05)
    with talk("dee") as conversation:
        question = say(conversation, "would I like that zeppelin opera")
        assert question.startswith(
            "I know of nothing called “zeppelin opera”; this comes nearest. Which do you mean? 1."
        )


def test_what_is_recommended_is_what_was_asked_for_and_where_nothing_is_that_is_said(talk: Talk) -> None:
    with talk("dee") as conversation:
        asked = say(conversation, "recommend me a comedy")
        assert "and is called “comedy” in its description or by its reviewers, I expect you to like most" in asked
        assert "Waltz of the Clerks" in asked
        assert "Deep" not in asked
        without = say(conversation, "something not too slow for tonight")
        assert "is not called “slow”" in without
        assert "Waltz of the Clerks" not in without
        none = say(conversation, "recommend me a western")
        assert "I found nothing that is called “western”" in none
        assert "Waltz of the Clerks" in none


def test_a_request_in_place_of_a_choice_is_a_turn_of_its_own(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    unsure = Routed(turn=Turn.OTHER, probability=0.4, second=Turn.CORRECT)
    with talk("dee") as conversation:
        with monkeypatch.context() as patched:
            patched.setattr(conversation._talking.router, "route", lambda *_: unsure)
            assert "I am not sure what you want" in say(conversation, "everything")
        assert "I expect you to like most" in say(conversation, "recommend me something")


@pytest.mark.parametrize("turn", ["no i meant Tarts at Dawn", "ok Tarts at Dawn then", "Tarts at Dawn"])
def test_who_meant_another_item_is_told_of_that(talk: Talk, turn: str) -> None:
    with talk("dee") as conversation:
        say(conversation, "would I like Waltz of the Clerks?")
        assert "Tarts at Dawn" in say(conversation, turn)
        assert conversation.state["focus"][0] == "tarts"
