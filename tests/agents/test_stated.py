import pytest
from hypothesis import given
from hypothesis import strategies as st
from tastes import summary

from whylike.agents.stated import MOST, effects, heeded, is_stated, replacing, shift, stated_id, tastes
from whylike.explanation import Effect
from whylike.memory.embeddings import Embedder
from whylike.records import Attitude, Preference, RatingScale, Review, ReviewSummary

SCALE = RatingScale()
LIKE, DISLIKE, INDIFFERENT = Attitude.LIKE, Attitude.DISLIKE, Attitude.INDIFFERENT


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def said(attitude: Attitude, about: str, id_: str = "p") -> Preference:
    return Preference(preference_id=id_, user_id="u", attitude=attitude, about=about, stated_at=1)


def reviews(*texts: tuple[float, str]) -> list[Review]:
    return [
        Review(review_id=f"r{number}", user_id=f"v{number}", item_id="i", rating=rating, text=text, timestamp=1)
        for number, (rating, text) in enumerate(texts)
    ]


def effect(
    embedder: Embedder | None,
    preference: Preference,
    item: list[Review],
    own: list[ReviewSummary] | None = None,
    description: str = "",
) -> Effect:
    [found] = effects([preference], own or [], item, description, scale=SCALE, embedder=embedder)
    return found


def test_what_the_user_likes_speaks_for_an_item_that_pleased_others_by_it(embedder: Embedder) -> None:
    found = effect(embedder, said(LIKE, "slow films"), reviews((5, "It is wonderfully slow."), (5, "Great dialogue.")))
    assert found.shift > 0
    assert found.reviews == ["r0"]
    assert found.of == 2


def test_what_the_user_dislikes_speaks_against_it_whoever_it_pleased(embedder: Embedder) -> None:
    for rating in (1, 5):
        assert effect(embedder, said(DISLIKE, "gore"), reviews((rating, "So much gore in it."))).shift < 0


def test_what_an_item_lacks_goes_the_other_way(embedder: Embedder) -> None:
    item = reviews((2, "It has no happy ending."))
    assert effect(embedder, said(LIKE, "happy endings"), item).shift < 0
    assert effect(embedder, said(DISLIKE, "happy endings"), item).shift > 0


def test_a_complaint_is_no_cause_for_one_who_likes_the_thing_itself(embedder: Embedder) -> None:
    assert effect(embedder, said(LIKE, "singing"), reviews((1, "The singing is terrible."))).shift == 0


def test_a_denial_says_nothing_either_way(embedder: Embedder) -> None:
    assert effect(embedder, said(DISLIKE, "slow films"), reviews((5, "It is not slow for a minute."))).shift == 0


def test_not_to_mind_takes_back_what_the_users_own_reviews_say(embedder: Embedder) -> None:
    item = reviews((4, "There are subtitles all the way."))
    own = [summary("own", dislikes=("I hate reading subtitles",))]
    assert effect(embedder, said(INDIFFERENT, "subtitles"), item, own).shift > 0
    assert effect(embedder, said(INDIFFERENT, "subtitles"), item).shift == 0
    liked = [summary("own", likes=("the subtitles are a joy",))]
    assert effect(embedder, said(INDIFFERENT, "subtitles"), item, liked).shift < 0


def test_a_description_that_names_it_counts_too(embedder: Embedder) -> None:
    found = effect(embedder, said(LIKE, "musicals"), reviews((5, "What a cast!")), description="A musical in Greece.")
    assert found.described
    assert found.shift > 0
    assert found.reviews == []


def test_the_more_reviewers_speak_of_it_the_more_it_counts(embedder: Embedder) -> None:
    few = reviews((5, "It is slow."), (5, "A dog."), (5, "A cat."))
    many = reviews((5, "It is slow."), (5, "Very slow."), (5, "So slow."))
    assert effect(embedder, said(LIKE, "slow"), many).shift > effect(embedder, said(LIKE, "slow"), few).shift


def test_opposites_are_not_taken_for_one_another(embedder: Embedder) -> None:
    assert effect(embedder, said(DISLIKE, "sad films"), reviews((5, "The happiest film I own."))).reviews == []


def test_nothing_moves_the_rating_by_more_than_its_share(embedder: Embedder) -> None:
    item = reviews(*[(5.0, "Slow, long, loud, sad and gory.")] * 9)
    all_ = [said(LIKE, about, about) for about in ("slow", "long", "loud", "sad", "gory")]
    found = effects(all_, [], item, "", scale=SCALE, embedder=None)
    assert sum(each.shift for each in found) > MOST * 4
    assert shift(found, SCALE) == MOST * 4


def test_what_was_said_outweighs_what_the_reviews_suggest(embedder: Embedder) -> None:
    own = [summary("own", likes=("slow and quiet", "the sea"), dislikes=("far too slow", "the noise"))]
    [liked] = heeded(own, [said(LIKE, "slow films")], embedder, own=True)
    assert (liked.likes, liked.dislikes) == (("slow and quiet", "the sea"), ("the noise",))
    [disliked] = heeded(own, [said(DISLIKE, "slow films")], embedder, own=True)
    assert (disliked.likes, disliked.dislikes) == (("the sea",), ("far too slow", "the noise"))
    [neither] = heeded(own, [said(INDIFFERENT, "slow films")], embedder, own=True)
    assert (neither.likes, neither.dislikes) == (("the sea",), ("the noise",))


def test_others_complaints_of_what_the_user_likes_or_does_not_mind_are_not_told(embedder: Embedder) -> None:
    item = [summary("r", likes=("gloriously slow",), dislikes=("far too slow", "the noise"))]
    for attitude in (LIKE, INDIFFERENT):
        [told] = heeded(item, [said(attitude, "slow films")], embedder, own=False)
        assert (told.likes, told.dislikes) == (("gloriously slow",), ("the noise",))
    assert heeded(item, [said(DISLIKE, "slow films")], embedder, own=False) == item


def test_likings_and_dislikes_stand_among_the_users_tastes() -> None:
    given = [said(LIKE, "jazz", "a"), said(DISLIKE, "gore", "b"), said(INDIFFERENT, "length", "c")]
    found = tastes(given)
    assert [(each.likes, each.dislikes) for each in found] == [(("jazz",), ()), ((), ("gore",))]
    assert all(is_stated(each.review_id) for each in found)
    assert stated_id(given[0]) == found[0].review_id
    assert not is_stated("r1")


def test_what_is_said_again_of_the_same_takes_its_place(embedder: Embedder) -> None:
    old = [said(DISLIKE, "long films", "a"), said(LIKE, "jazz", "b")]
    assert replacing(old, [said(LIKE, "a long film", "c")], embedder) == old[1:]
    assert replacing(old, [said(LIKE, "the sea", "c")], embedder) == old


@given(
    st.sampled_from(Attitude),
    st.text(max_size=20),
    st.lists(st.tuples(st.sampled_from([1.0, 3.0, 5.0]), st.text(max_size=60)), max_size=4),
    st.text(max_size=60),
)
def test_whatever_is_said_the_shift_is_bounded_and_only_of_what_is_spoken_of(
    attitude: Attitude, about: str, texts: list[tuple[float, str]], description: str
) -> None:
    item = reviews(*texts)
    found = effect(None, said(attitude, about), item, description=description)
    assert abs(shift([found], SCALE)) <= MOST * 4
    assert set(found.reviews) <= {each.review_id for each in item}
    assert found.reviews or found.described or not found.shift


def test_a_dislike_of_gore_speaks_against_what_is_gory(embedder: Embedder) -> None:
    assert effect(None, said(DISLIKE, "gore"), reviews((2, "A gory film."))).reviews == ["r0"]
    assert effect(None, said(DISLIKE, "gory films"), [], description="Rubber and gore.").described
    assert replacing([said(LIKE, "gore", "old")], [said(LIKE, "gory films")], embedder) == []
