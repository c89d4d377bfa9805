"""What a conversation answers, on the small corpus, with a scripted model and everything else real."""

from __future__ import annotations

import pytest
from conversing import Talk, everything, say
from sqlalchemy import select

from whylike.graph.pair import Services
from whylike.memory.schema import answers
from whylike.records import Item, Review, ReviewSummary


def test_why_is_answered_with_a_rating_and_a_reason_whose_sentences_name_their_reviews(talk: Talk) -> None:
    with talk("dee") as conversation:
        answer = say(conversation, "would I like Waltz of the Clerks?")
        assert "Waltz of the Clerks: I expect that you would give it" in answer
        assert "[1]" in answer
        assert "the user" not in answer.lower()
        assert conversation.state["focus"] == ["waltz"]
        assert set(conversation.state["cited"]) <= {"r3", "r4", "r7", "r9", "r12"}


def test_why_of_what_the_user_has_reviewed_tells_that_and_does_not_use_it(talk: Talk) -> None:
    with talk() as conversation:
        answer = say(conversation, "would I like The Long Ice")
        assert "You gave The Long Ice 5 of 5" in answer
        before, _, reason = answer.partition(", and would have said: ")
        assert "with 80% probability between " in before
        assert reason, "it is told as what was foreseen, not as what is so"
        assert "zanzibar" not in answer


@pytest.mark.parametrize("asked", ["why", "but why so low", "why is it 4.1", "why that rating"])
def test_a_short_why_is_of_the_item_spoken_of_last(talk: Talk, asked: str) -> None:
    with talk("dee") as conversation:
        answer = say(conversation, "would I like Waltz of the Clerks?")
        say(conversation, "hello")
        assert say(conversation, asked) == answer


@pytest.mark.parametrize("asked", ["why not", "why would I hate it", "why wouldn't I like it"])
def test_why_not_is_answered_with_what_speaks_against_it_alone(talk: Talk, asked: str) -> None:
    with talk("dee") as conversation:
        whole = say(conversation, "would I like The Long Ice")
        answer = say(conversation, asked)
        assert answer.startswith("Against The Long Ice: ")
        assert set(conversation.state["cited"]) <= {"r6", "r9", "r11"}
        assert "I expect" not in answer
        assert len(answer) < len(whole)
        assert "Waltz of the Clerks: I expect" in say(conversation, "why would I hate Waltz of the Clerks?")


def test_where_nothing_speaks_against_an_item_that_is_said(talk: Talk, services: Services) -> None:
    services.store.add_items([Item(item_id="kettle", title="Swift Kettle", description="It boils water.")])
    with talk("dee") as conversation:
        say(conversation, "would I like Swift Kettle?")
        assert say(conversation, "why not") == "I found nothing that speaks against Swift Kettle."


def test_how_sure_it_is_is_told_with_how_often_that_is_right(talk: Talk) -> None:
    with talk("dee") as conversation:
        first = say(conversation, "would I like Waltz of the Clerks?")
        answer = say(conversation, "how sure are you")
        sure = first.partition(" of 5, ")[2].partition(".")[0]
        assert sure.startswith("with 80% probability ")
        assert f", {sure}: " in answer
        assert "hold in 80% of cases" in answer


def test_an_item_is_found_by_what_it_is(talk: Talk) -> None:
    with talk("dee") as conversation:
        assert "Waltz of the Clerks" in say(conversation, "would I enjoy that film about bureaucrats who fall in love")


def test_a_follow_up_is_answered_from_the_reviews_or_not_at_all(talk: Talk) -> None:
    with talk() as conversation:
        say(conversation, "would I like The Long Ice")
        answer = say(conversation, "does it have a good ending?")
        assert "speak of “ending”" in answer
        assert "The ending gave me chills" in answer
        assert "None of the" in say(conversation, "is there singing in it?")
        assert "cannot tell" in say(conversation, "does it have subtitles?")
        assert conversation.state["focus"] == ["ice"]


def test_two_things_asked_at_once_are_each_answered(talk: Talk) -> None:
    with talk() as conversation:
        say(conversation, "would I like The Long Ice")
        answer = say(conversation, "does it have a good ending and does it have subtitles?")
        assert "speak of “ending”" in answer
        assert "says anything of “subtitles”" in answer


def test_of_what_nobody_says_as_a_whole_the_part_is_told_that_somebody_speaks_of(talk: Talk) -> None:
    with talk() as conversation:
        say(conversation, "would I like The Long Ice")
        answer = say(conversation, "is the ending purple?")
        assert "says anything of “ending purple”, so I cannot tell; 2 speak of “ending”." in answer
        assert "The ending gave me chills" in answer
        assert "cannot tell." in say(conversation, "are the subtitles purple?")


def test_what_a_description_says_is_told_as_such(talk: Talk) -> None:
    with talk() as conversation:
        say(conversation, "would I like The Long Ice")
        assert "Its description says: “Scientists at an outpost" in say(conversation, "are there scientists in it?")


def test_two_items_are_compared(talk: Talk) -> None:
    with talk("eve") as conversation:
        answer = say(conversation, "Waltz of the Clerks or Tarts at Dawn, which would suit me better?")
        assert "Waltz of the Clerks" in answer
        assert "Tarts at Dawn" in answer
        assert sorted(conversation.state["focus"][:2]) == ["tarts", "waltz"]
        assert " of 5 for " in answer


def test_in_a_comparison_what_the_user_gave_counts_for_more_than_what_is_expected(
    talk: Talk, services: Services
) -> None:
    services.store.add_reviews(
        [
            Review(
                review_id="own", user_id="eve", item_id="tarts", rating=5, text="My favourite of all.", timestamp=9_000
            )
        ]
    )
    with talk("eve") as conversation:
        answer = say(conversation, "Waltz of the Clerks or Tarts at Dawn, which would suit me better?")
        assert "Rather Tarts at Dawn than Waltz of the Clerks: you gave Tarts at Dawn 5, and I expect " in answer
        assert " for Waltz of the Clerks." in answer
        assert "Tarts at Dawn: you gave it 5 yourself, and wrote “My favourite of all”.[" in answer


def test_a_comparison_with_one_named_takes_the_one_spoken_of(talk: Talk) -> None:
    with talk("eve") as conversation:
        say(conversation, "would I like Tarts at Dawn")
        answer = say(conversation, "how does it compare with Waltz of the Clerks?")
        assert "Tarts at Dawn" in answer
        assert "Waltz of the Clerks" in answer


def test_what_if_moves_the_rating_and_keeps_nothing(talk: Talk, services: Services) -> None:
    with talk("dee") as conversation:
        say(conversation, "would I like Waltz of the Clerks?")
        before = everything(services)
        answers = _kept(services)
        answer = say(conversation, "and if I loved clerks?")
        assert "would go up" in answer
        assert "nothing of it is kept" in answer
        assert services.store.preferences("dee") == []
        assert everything(services) == before
        assert _kept(services) == answers


def test_of_what_nobody_has_reviewed_no_reviews_are_counted(talk: Talk, services: Services) -> None:
    services.store.add_items([Item(item_id="moon", title="Moon Harvest", description="A farm on the moon.")])
    with talk() as conversation:
        say(conversation, "would I like Moon Harvest?")
        answer = say(conversation, "and if I liked violins?")
        assert "neither its description nor any review that I read says anything" in answer


def test_what_nobody_speaks_of_changes_nothing(talk: Talk) -> None:
    with talk("dee") as conversation:
        say(conversation, "would I like Waltz of the Clerks?")
        assert "nothing would change" in say(conversation, "and if I didn't mind subtitles?")


def test_what_only_comes_near_is_not_told_as_said(talk: Talk, services: Services) -> None:
    services.store.add_items([Item(item_id="toaster", title="Brass Toaster")])
    services.store.add_reviews(
        [
            Review(
                review_id=f"t{number}", user_id=f"t{number}", item_id="toaster", rating=3, text=text, timestamp=1_000
            )
            for number, text in enumerate(["It moves at a glacial pace and drags.", "Shiny sides, and it stays cool."])
        ]
    )
    with talk("eve") as conversation:
        say(conversation, "would I like the Brass Toaster?")
        near = say(conversation, "does it have a slow pace?")
        assert near.startswith(
            "None of the 2 reviews of Brass Toaster that I read speaks of “slow pace” in these words"
        )
        assert "“It moves at a glacial pace and drags”" in near
        assert "“shiny”" in say(conversation, "is the toaster shiny?"), "not “toaster shiny”"


def test_what_is_known_of_a_user_is_told_in_their_own_words_with_what_they_are_about(
    talk: Talk, services: Services, corpus: tuple[Review, ...]
) -> None:
    theirs = {review.item_id: review for review in corpus if review.user_id == "ben"}
    phrases = {
        "waltz": ((), ("the clerks are charming",)),
        "ice": (("cold", "the wind never stops howling"), ()),
        "ship": ((), ("blood everywhere for no reason",)),
    }
    services.store.add_summaries(
        [
            ReviewSummary(
                review_id=theirs[item_id].review_id,
                likes=likes,
                dislikes=dislikes,
                adapter_version=services.summarizer.mark,
            )
            for item_id, (likes, dislikes) in phrases.items()
        ]
    )
    with talk("ben") as conversation:
        shown = say(conversation, "what do you know about me")
        assert "I have 3 reviews by you" in shown
        assert "In The Long Ice you liked “the wind never stops howling”.[1]" in shown
        assert (
            "In Waltz of the Clerks you disliked “the clerks are charming” and in Dr. Hull's 'Deep' Ship “blood "
            "everywhere for no reason”.[2][3]"
        ) in shown
        assert conversation.state["cited"] == ["r5", "r12", "r2"]


def test_praise_in_a_bad_review_is_not_told_as_liked(talk: Talk, services: Services) -> None:
    with talk("eve") as conversation:
        services.store.add_summaries(
            [ReviewSummary(review_id="r11", likes=("far too bloody for me",), adapter_version=services.summarizer.mark)]
        )
        assert " liked " not in say(conversation, "what do you know about me")


def test_what_is_recommended_the_user_has_not_reviewed(talk: Talk) -> None:
    with talk("eve") as conversation:
        answer = say(conversation, "what should I watch next?")
        assert "1. " in answer
        assert "The Long Ice" not in answer
        assert "There is nothing" in _recommended_to_ann(talk)


def _recommended_to_ann(talk: Talk) -> str:
    with talk("ann", "other") as conversation:
        return say(conversation, "recommend me something")


def test_anything_else_is_told_what_can_be_asked(talk: Talk) -> None:
    with talk() as conversation:
        assert "not something I can help with" in say(conversation, "what's the weather tomorrow")
        assert "welcome" in say(conversation, "thank you very much")


@pytest.mark.parametrize("said", ["Empfiehl mir etwas", "я люблю медленные фильмы", "私は遅い映画が好きです"])
def test_who_speaks_another_language_is_told_that_it_is_not_understood(talk: Talk, said: str) -> None:
    with talk() as conversation:
        assert "not English, which is all I understand" in say(conversation, said)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("hello", "Hello. Ask me whether"),
        ("Good morning!", "Hello. Ask me whether"),
        ("what can you do?", "whether and why you would like an item"),
        ("help", "whether and why you would like an item"),
        ("bye", "Goodbye"),
    ],
)
def test_a_greeting_is_returned_and_who_asks_for_help_gets_it(talk: Talk, said: str, told: str) -> None:
    with talk() as conversation:
        assert told in say(conversation, said)


def test_a_long_description_is_not_said_back_whole(talk: Talk) -> None:
    with talk("dee") as conversation:
        assert len(say(conversation, f"would I like {'the qwertz uiop ' * 200}?")) < 200


def _kept(services: Services) -> int:
    with services.store.database.read() as connection:
        return len([row for row in connection.execute(select(answers)) if "loved" in row.body or "I like" in row.body])
