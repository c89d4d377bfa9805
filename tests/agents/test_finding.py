from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whylike.agents.finding import described, named, settled
from whylike.memory.embeddings import Embedder
from whylike.memory.index import Index
from whylike.memory.schema import Collection
from whylike.memory.store import Store
from whylike.records import Item, Review
from whylike.settings import Settings

ITEMS = (
    ("thing", "The Thing (1982)", "Scientists at an outpost in the ice are hunted by an alien."),
    ("alien", "Alien", "The crew of a spaceship is hunted by a creature."),
    ("alien2", "Alien: Resurrection", "A woman is cloned."),
    ("heat", "Heat", "A thief and a detective in Los Angeles."),
    ("bad", "Bad", "A record of dance music."),
    ("turing", "The Imitation Game", "Alan Turing breaks the Enigma code in the war."),
    ("hits1", "Greatest Hits", "Songs of the seventies."),
    ("hits2", "Greatest Hits", "Country songs."),
    ("x", "", ""),
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Index, Embedder]]:
    where = Settings(store=tmp_path_factory.mktemp("store"))
    embedder = Embedder()
    with Store.open(where) as store, Index.open(where, store, embedder) as index:
        store.add_items(Item(item_id=id_, title=title, description=about) for id_, title, about in ITEMS)
        store.add_reviews(
            [
                Review(
                    review_id="r", user_id="u", item_id="x", rating=3, text="The banjo of Pete Seeger.", timestamp=1
                ),
                Review(review_id="s", user_id="u", item_id="heat", rating=3, text="100% of it_all", timestamp=1),
            ]
        )
        index.sync(kinds=tuple(Collection))
        yield store, index, embedder


def ids(store: Store, text: str) -> list[str]:
    return [each.item_id for each in named(store, text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("would I like the thing", ["thing"]),
        ("The Thing or Alien?", ["thing", "alien"]),
        ("Alien: Resurrection, then", ["alien2"]),
        ("is alien resurrection for me", ["alien2"]),
        ("the imitaton game", ["turing"]),
        ("Heat", ["heat"]),
        ("would I like heat", ["heat"]),
        ("is it bad", []),
        ("is the sound in it bad, and the heat", []),
        ("I would rather see Bad", ["bad"]),
        ("alien or the imitation game", ["alien", "turing"]),
        ("which is more for me, the imitation game or heat?", ["turing", "heat"]),
        ("there is heat in the imitation game", ["turing"]),
        ("greatest hits", ["hits1", "hits2"]),
        ("", []),
        ("nothing of the kind", []),
    ],
)
def test_titles_are_found_in_a_text(opened: tuple[Store, Index, Embedder], text: str, found: list[str]) -> None:
    assert ids(opened[0], text) == found


def test_a_name_is_where_it_stands(opened: tuple[Store, Index, Embedder]) -> None:
    text = "so, would ALIEN do?"
    [found] = named(opened[0], text)
    assert text[found.start : found.end] == "ALIEN"


def test_what_is_described_is_found_by_what_it_is(opened: tuple[Store, Index, Embedder]) -> None:
    assert settled(described(*opened, "turing film")) == "turing"
    assert settled(described(*opened, "thief in los angeles")) == "heat"


def test_what_only_reviewers_say_counts_too(opened: tuple[Store, Index, Embedder]) -> None:
    assert settled(described(*opened, "pete seeger banjo")) == "x"


def test_of_several_that_fit_none_is_settled(opened: tuple[Store, Index, Embedder]) -> None:
    near = described(*opened, "the one where they are hunted")
    assert {"thing", "alien"} <= {each.item_id for each in near}
    assert settled(near) is None


def test_what_is_near_in_sense_alone_is_asked_about(opened: tuple[Store, Index, Embedder]) -> None:
    near = described(*opened, "mathematician codebreaking biography")
    assert near[0].item_id == "turing"
    assert not near[0].worded
    assert settled(near[:1]) is None


@pytest.mark.parametrize("text", ["", "the of", "qwertz uiop", "100%", "it_all", "' OR 1=1 --"])
def test_what_fits_nothing_finds_nothing_certain(opened: tuple[Store, Index, Embedder], text: str) -> None:
    assert settled(described(*opened, text)) in (None, "heat")
    assert [each.item_id for each in described(*opened, text)] in ([], ["heat"])


@settings(max_examples=50)
@given(st.text(max_size=400))
def test_any_text_is_searched(opened: tuple[Store, Index, Embedder], text: str) -> None:
    for each in named(opened[0], text):
        assert 0 <= each.start < each.end <= len(text)
