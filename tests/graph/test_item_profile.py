"""The strategies of an item's profile in a pair's query: which reviews it reads, keeps and tells of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.card import CHOSEN, card
from whylike.explanation import Explanation
from whylike.graph.pair import Services, explain
from whylike.records import ItemProfile, Review, Side

CROWD = tuple(
    Review(
        review_id=f"c{number}",
        user_id=user_id,
        item_id=item_id,
        rating=rating,
        text=text,
        timestamp=100 * number + 7,
        helpful=helpful,
    )
    for number, (user_id, item_id, rating, text, helpful) in enumerate(
        [
            ("dee", "ship", 1, "The engine room is too dark.", 0),
            ("twin", "ship", 1, "I could not hear a word.", 0),
            ("twin", "tarts", 4, "The oven glows.", 0),
            ("twin", "waltz", 5, "The quiet dances are warm and lovely.", 1),
            ("foe", "waltz", 1, "A waste of an evening, and the music is loud.", 9),
        ]
    )
)
"""`twin` rates films as `dee` does; most people found `foe` helpful."""
READ = {
    ItemProfile.ALL: ["r12", "c4", "r4", "c3"],
    ItemProfile.HELPFUL: ["c4", "c3", "r12", "r4"],
    ItemProfile.NEIGHBOURS: ["r12", "c3"],
}
"""Of the last one `ben`, the most like `dee` by two films, before `twin`."""


@pytest.fixture
def choosing(
    opened: Callable[..., AbstractContextManager[Services]],
) -> Callable[..., AbstractContextManager[Services]]:
    """Opens services on a store with the crowd, that read an item's reviews by a strategy."""

    @contextmanager
    def services(chosen: ItemProfile) -> Iterator[Services]:
        with opened(ScriptedEngine(), *CROWD) as made:
            yield replace(made, settings=made.settings.model_copy(update={"item_profile": chosen, "history": 4}))

    return services


def printed(services: Services, explanation: Explanation) -> str:
    console = Console(width=100, file=StringIO(), record=True)
    console.print(card(explanation, services.store.item))
    return " ".join(console.export_text().split())


@pytest.mark.parametrize("chosen", ItemProfile)
def test_it_reads_what_the_strategy_chooses_and_says_so(
    choosing: Callable[..., AbstractContextManager[Services]],
    chosen: ItemProfile,
    well_formed: Callable[[Explanation], None],
):
    with choosing(chosen) as services:
        explanation = explain(services, "dee", "waltz")
        well_formed(explanation)
        of_item = [each.id for each in explanation.evidence if each.item_id == "waltz"]
        assert of_item == READ[chosen]
        assert explanation.profiles.item.strategy is chosen
        assert CHOSEN[chosen] in printed(services, explanation)
        latest = services.store.latest_profile(Side.ITEM, "waltz")
        assert (latest is not None) is (chosen is ItemProfile.ALL), "what is shown of an item is of all its reviews"


def test_the_averages_and_the_strategies_do_not_touch_one_another(
    choosing: Callable[..., AbstractContextManager[Services]], monkeypatch: pytest.MonkeyPatch
):
    found = {}
    for chosen in ItemProfile:
        with choosing(chosen) as services:
            found[chosen] = explain(services, "dee", "waltz", with_reason=False).rating
    assert found[ItemProfile.HELPFUL] == found[ItemProfile.NEIGHBOURS] == found[ItemProfile.ALL]

    lists = {}
    for chosen in ItemProfile:
        with choosing(chosen) as services:
            lists[chosen] = explain(services, "dee", "waltz").profiles.item
    with choosing(ItemProfile.NEIGHBOURS) as services:
        monkeypatch.delattr(type(services.summarizer), "_themes")
        assert explain(services, "dee", "waltz").profiles.item == lists[ItemProfile.NEIGHBOURS], "it was kept"
    assert len({(*each.likes, *each.dislikes) for each in lists.values()}) > 1


def test_without_neighbours_the_newest_reviews_are_read_and_it_is_said(
    choosing: Callable[..., AbstractContextManager[Services]],
):
    with choosing(ItemProfile.NEIGHBOURS) as services:
        stranger = explain(services, "zoe", "waltz")
        assert stranger.profiles.item.strategy is ItemProfile.ALL
        assert any("in place of neighbours' reviews" in note for note in stranger.notes)
        assert not any("neighbours" in note for note in explain(services, "dee", "waltz").notes)
        assert not any("neighbours" in note for note in explain(services, "dee", "unread").notes)
