import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.agents import slots
from whylike.records import RatingScale

FIVE, TEN = RatingScale(), RatingScale(minimum=1, maximum=10)


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("I saw it last night, 5 stars, terrifying", 5),
        ("loud but great, 4", 4),
        ("three out of five", 3),
        ("I give it a two", 2),
        ("it was a 4 for me, lovely songs", 4),
        ("bought it in march, does what it says, 4/5", 4),
        ("rated it 5 because of the diner scene", 5),
        ("my 3 favourite songs are on it", None),
        ("9 stars", None),
        ("lovely", None),
    ],
)
def test_the_rating_that_a_turn_gives(text: str, rating: float | None) -> None:
    assert slots.rating(text, FIVE) == rating


def test_a_rating_is_read_on_the_stores_scale() -> None:
    assert slots.rating("9 stars", TEN) == 9
    assert slots.rating("0,5 of 5", RatingScale(minimum=0.5, maximum=5, step=0.5)) == 0.5


def test_what_is_written_of_an_item_is_without_the_request_and_the_rating() -> None:
    assert slots.written("add a review: I saw it, 4 stars, loud but great", FIVE) == "I saw it, loud but great"
    assert slots.written("I give the toaster 2 out of 5, it burns the bread", FIVE) == "it burns the bread"
    assert slots.written("warm and funny, so I rate it 5", FIVE) == "warm and funny"
    assert slots.written("loved the songs. I'd give it 4 stars", FIVE) == "loved the songs"
    assert slots.written("I give up on this thing, 1 star, it broke", FIVE) == "I give up on this thing, it broke"
    assert slots.written("it was a 4 for me, lovely songs", FIVE) == "it was a 4 for me, lovely songs"
    assert slots.written("the lobby boy made me laugh", FIVE) == "the lobby boy made me laugh"


@pytest.mark.parametrize(
    ("text", "aspect"),
    [
        ("is it slow?", "slow"),
        ("does it have a happy ending?", "happy ending"),
        ("how's the build quality, any complaints", "build quality"),
        ("what do people say about the acting", "acting"),
        ("what's the worst thing anyone says about it", ""),
        ("which review says that", ""),
    ],
)
def test_what_a_question_about_an_item_is_about(text: str, aspect: str) -> None:
    assert slots.aspect(text) == aspect


def test_how_an_item_is_pointed_at_is_told_as_it_was_said() -> None:
    assert slots.phrase("would I like that Hip Hop album by 2Pac?") == "Hip Hop album by 2Pac"
    assert slots.phrase("is that\nwar film loud?") == "war film"
    assert slots.phrase("would I like Heat?") == ""


@pytest.mark.parametrize(
    ("text", "described", "pointed"),
    [
        ("would i enjoy that turing film", "turing", "turing"),
        ("the one about the jazz drummer, would I like that", "jazz drummer", "jazz drummer"),
        ("would that cheap tuner suit me", "cheap tuner", "cheap tuner"),
        ("so would I like it?", "", ""),
        ("why not?", "", ""),
        ("would I like that hip hop album by 2Pac?", "hip hop 2pac", "hip hop 2pac"),
        ("does that jazz record by Miles Davis have long solos?", "jazz miles davis", "jazz miles davis"),
    ],
)
def test_an_item_that_is_described(text: str, described: str, pointed: str) -> None:
    assert slots.description(text) == described
    assert slots.pointed(text) == pointed


@pytest.mark.parametrize(
    ("text", "agreed"),
    [
        ("yes", True),
        ("Yes please", True),
        ("ok", True),
        ("y", True),
        ("no", False),
        ("nope, leave it", False),
        ("don't", False),
        ("never mind", False),
        ("would I like Heat?", None),
        ("nobody knows", None),
        ("yesterday I saw Heat", None),
        ("", None),
    ],
)
def test_yes_is_only_what_says_yes(text: str, agreed: bool | None) -> None:
    assert slots.agrees(text) is agreed


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("yes", True),
        ("Ok, do that please.", True),
        ("no thanks", True),
        ("y", True),
        ("No plot at all", False),
        ("fine acting", False),
        ("boring", False),
        ("", False),
    ],
)
def test_a_yes_or_a_no_says_nothing_else(text: str, bare: bool) -> None:
    assert slots.bare(text) is bare


def test_a_choice_is_by_number_or_by_words() -> None:
    options = ["The Thing (1982)", "Heat (1995)"]
    assert slots.chosen("2", options) == slots.chosen("the second", options) == slots.chosen("heat", options) == 1
    assert slots.chosen("the last", options) == 1
    assert slots.chosen("3", options) is None
    assert slots.chosen("something else entirely", options) is None


def test_an_answer_lists_several_things_or_nothing() -> None:
    assert slots.pieces("happy endings, the songs and I like the sea") == ["happy endings", "songs", "I like the sea"]
    assert not any(
        slots.pieces(each) for each in ("anything", "Everything!", "no preference", "i don't know", "whatever")
    )
    assert slots.pieces("skip") == slots.pieces("nothing") == slots.pieces("yes") == slots.pieces("") == []


def test_what_an_article_calls_a_thing() -> None:
    assert slots.things("is the toaster safe for kids?") == ["toaster"]
    assert slots.things("is the film any good, and would the best reviewers say so?") == []


def test_what_is_set_beside_a_named_item() -> None:
    assert slots.beside("which is better, the swift kettle or the ITEM?", "ITEM") == "swift kettle"
    assert slots.beside("ITEM or the swift kettle?", "ITEM") == "swift kettle"
    assert slots.beside("how does it compare with ITEM for acting?", "ITEM") == ""


def test_what_each_question_of_a_turn_is_about() -> None:
    assert slots.aspects("is it loud and is it heavy?") == ["loud", "heavy"]
    assert slots.aspects("is it loud? and heavy?") == ["loud", "heavy"]
    assert slots.aspects("is the song and dance good?") == ["song dance"]
    assert slots.aspects("is it any good?") == []


@given(st.text())
def test_any_text_is_read_without_a_failure(text: str) -> None:
    rating = slots.rating(text, FIVE)
    assert rating is None or rating in FIVE
    assert slots.chosen(text, ["a", "b"]) in (None, 0, 1)
    assert all("\n" not in piece for piece in slots.pieces(text))
    for read in (slots.aspect, slots.description, slots.pointed):
        assert "\n" not in read(text)
    assert "\n" not in slots.written(text, FIVE)
