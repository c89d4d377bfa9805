"""What a request to be recommended something asks of it."""

from __future__ import annotations

import pytest

from whylike.agents.wishes import Wish, read
from whylike.records import Review


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("recommend me a comedy", "is called “comedy”"),
        ("something funny pls", "is called “funny”"),
        ("something not too slow for tonight", "is not called “slow”"),
        ("is there anything less sad", "is not called “sad”"),
        ("something scary but not gory pls", "is called “scary” and not “gory”"),
        ("Something quiet to listen to while I do the ironing, perhaps?", "is called “quiet”"),
    ],
)
def test_the_qualities_that_are_asked_for_are_read_without_what_it_is_for(text: str, told: str) -> None:
    wish = read(text)
    assert wish is not None
    assert wish.told() == told


@pytest.mark.parametrize("text", ["recommend me something", "what should I watch next", "any suggestions?", "top 5"])
def test_a_request_that_is_content_with_anything_asks_nothing(text: str) -> None:
    assert read(text) is None


def test_an_item_is_what_its_description_or_a_tenth_of_its_reviewers_call_it_and_do_not_deny() -> None:
    def reviews(*texts: str) -> list[Review]:
        return [
            Review(review_id=f"r{number}", user_id="u", item_id="i", rating=3, text=text, timestamp=number)
            for number, text in enumerate(texts)
        ]

    funny = Wish(("funny",), ())
    assert funny.met("A funny film.", [])
    assert funny.met("", reviews("So funny.", *["Good."] * 9))
    assert not funny.met("", reviews("So funny.", *["Good."] * 10))
    assert not funny.met("", reviews("It was not funny at all."))
    assert not Wish((), ("funny",)).met("A funny film.", [])
    assert Wish((), ("funny",)).met("A sad film.", reviews("Good."))
