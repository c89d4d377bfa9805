from whylike.agents.spoken import described, spoken
from whylike.memory.embeddings import Embedder
from whylike.records import Review

REVIEWS = [
    Review(review_id=f"r{number}", user_id="u", item_id="i", rating=3, text=text, timestamp=number)
    for number, text in enumerate(
        ["The acting is wooden. I liked the sea.", "It moves at a glacial pace and drags.", "Slow. The dog was fine."]
    )
]


def test_the_phrases_that_speak_of_it_are_found_those_that_name_it_first() -> None:
    embedder = Embedder()
    told = spoken(REVIEWS, "slow pace", embedder)
    assert [each.review.review_id for each in told][:1] == ["r1"]
    assert "glacial pace" in told[0].phrase
    assert not told[0].named, "it does not say slow"
    [acting] = spoken(REVIEWS, "acting", embedder)
    assert (acting.phrase, acting.named) == ("The acting is wooden", True)


def test_of_what_nobody_speaks_of_nothing_is_found() -> None:
    embedder = Embedder()
    assert spoken(REVIEWS, "battery life", embedder) == []
    assert spoken([], "slow", embedder) == []
    assert spoken(REVIEWS, "", embedder) == []


def test_the_sentence_of_a_description_that_names_it() -> None:
    text = "A quiet romance. 98 minutes, with subtitles. Set in 1962."
    assert described(text, "subtitles") == "98 minutes, with subtitles."
    assert described(text, "gore") == ""
    assert described(text, "") == ""


def test_a_sentence_of_one_word_is_heard() -> None:
    """“Slow.” is no phrase that a reason would quote, yet the answer must not be that nobody says so."""
    [slow] = spoken([REVIEWS[2].model_copy(update={"text": "Quiet and pretty. Slow."})], "slow", Embedder())
    assert slow.phrase == "Slow"
