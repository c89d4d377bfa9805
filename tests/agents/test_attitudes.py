from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whylike.agents.attitudes import LONGEST, Statement, read, read_all, supposed, told
from whylike.records import Attitude

LIKE, DISLIKE, INDIFFERENT = Attitude.LIKE, Attitude.DISLIKE, Attitude.INDIFFERENT
ABOUT = st.sampled_from(["long films", "gore", "sad endings", "the banjo", "loud mixes"])


@pytest.mark.parametrize(
    ("text", "attitude", "about"),
    [
        ("no, I love long films", LIKE, "long films"),
        ("and if I didn't mind subtitles?", INDIFFERENT, "subtitles"),
        ("and if i didnt mind subtitles", INDIFFERENT, "subtitles"),
        ("actually I can’t stand autotune", DISLIKE, "autotune"),
        ("I cannot stand it, but I like jazz", LIKE, "jazz"),
        ("I don't dislike jazz at all", INDIFFERENT, "jazz"),
        ("I'm not a fan of slow films, change that", DISLIKE, "slow films"),
        ("violence doesn't bother me", INDIFFERENT, "violence"),
        ("false, happy endings annoy me", DISLIKE, "happy endings"),
        ("what if black and white was fine by me", INDIFFERENT, "black-and-white"),
        ("would that change if I liked slow films and nothing else", LIKE, "slow films"),
        ("nope, subtitles are fine with me", INDIFFERENT, "subtitles"),
        ("gore is not my thing", DISLIKE, "gore"),
        ("I used to like musicals but no more", INDIFFERENT, "musicals"),
        ("I never liked country music", DISLIKE, "country music"),
        ("I care a lot about sound quality", LIKE, "sound quality"),
        ("I don't care about the price", INDIFFERENT, "price"),
    ],
)
def test_what_somebody_likes_dislikes_or_does_not_mind_is_read(text: str, attitude: Attitude, about: str) -> None:
    assert read(text) == Statement(attitude, about)


@pytest.mark.parametrize(
    "text", ["", "?", "hello", "I love it", "I hate that", "would I like 5", "you are wrong about me", "I like"]
)
def test_what_is_about_nothing_is_no_statement(text: str) -> None:
    assert read(text) is None


@given(ABOUT, st.sampled_from([("I love", LIKE), ("I hate", DISLIKE), ("I don't mind", INDIFFERENT)]))
def test_a_statement_is_shown_back_as_it_was_read(about: str, said: tuple[str, Attitude]) -> None:
    begin, attitude = said
    found = read(f"{begin} {about}.")
    assert found == Statement(attitude, about.removeprefix("the "))
    assert told(found).startswith("you ")
    assert told(found).endswith(found.about)
    assert supposed(found).endswith(found.about)
    assert read(told(found).replace("you", "I", 1)) == found


@given(st.text())
def test_any_text_is_read_without_a_failure_and_briefly(text: str) -> None:
    found = read(text)
    assert found is None or 0 < len(found.about.split()) <= LONGEST


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_it_is_about_is_one_line_without_control_characters(text: str) -> None:
    found = read(f"I like {text}")
    assert found is None or not {category(char) for char in found.about} & {"Cc", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I like quiet things but I don't like slow ones", "you like quiet things and dislike slow ones"),
        ("I hate loud films, I love quiet ones", "you dislike loud films and like quiet ones"),
        ("no, I love films, but not sad ones", "you like films"),
        ("I like gore. No, I dislike gore", "you dislike gore"),
        ("sure, i like funny films and hate gore", "you like funny films and dislike gore"),
        ("I love slow films and don't mind subtitles", "you like slow films and do not mind subtitles"),
        ("I like rock and love songs", "you like rock"),
    ],
)
def test_all_that_is_said_in_one_turn_is_read(text: str, said: str) -> None:
    assert told(*read_all(text)) == said


@given(st.text())
def test_reading_all_of_a_text_loses_nothing_that_reading_it_finds(text: str) -> None:
    assert bool(read_all(text)) >= bool(read(text))


@pytest.mark.parametrize(
    "text",
    [
        "i dont mind subtitles actually",
        "tbh i dont mind subtitles, honestly",
        "I don't mind subtitles anyway",
        "I don't mind subtitles i guess",
        "i don't mind subtitles to be honest haha",
        "btw i don't mind subtitles btw",
    ],
)
def test_what_only_fills_a_sentence_is_no_part_of_a_taste(text: str) -> None:
    assert told(*read_all(text)) == "you do not mind subtitles"
