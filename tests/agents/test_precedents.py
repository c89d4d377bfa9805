"""Matching: the nearest item that the user knows, as a point for or against."""

from __future__ import annotations

import pytest
from tastes import sides, summary

from whylike.agents.matching import Kind, points
from whylike.memory.embeddings import Embedder

TARGET = "Horror. Scientists at an outpost in the ice are hunted by an alien that takes the shape of its victims."
NEARBY = "Horror. The crew of a spaceship is hunted by an alien creature."
ALSO_NEARBY = "Horror. Scientists on a spaceship are hunted by an alien."
FAR = "Cookery. A book of Italian recipes for pasta and bread."
TENSE = ("tense to the last minute",)
KEPT_AWAKE = summary("r0", likes=TENSE, dislikes=("so dark that nothing can be seen",))


@pytest.mark.parametrize(
    ("texts", "rating", "usual", "kind"),
    [
        ({"target": TARGET, "i0": NEARBY}, 5, 3, Kind.PRECEDENT_FOR),
        ({"target": TARGET, "i0": NEARBY}, 1, 3, Kind.PRECEDENT_AGAINST),
        ({"target": TARGET, "i0": NEARBY}, 3, 3, None),
        ({"target": TARGET, "i0": NEARBY}, 4, 5, None),
        ({"target": TARGET, "i0": NEARBY}, 2, 1, None),
        ({"target": TARGET, "i0": NEARBY}, 3, 5, None),
        ({"target": TARGET, "i0": FAR}, 5, 3, None),
        ({"target": TARGET}, 5, 3, None),
        ({"i0": NEARBY}, 5, 3, None),
    ],
    ids=[
        "pleased",
        "disappointed",
        "as usual",
        "a generous user",
        "a harsh user",
        "a middling rating",
        "far away",
        "past unknown",
        "target unknown",
    ],
)
def test_a_precedent_is_near_and_telling(
    embedder: Embedder, texts: dict[str, str], rating: float, usual: float, kind: Kind | None
):
    chosen = points(sides([KEPT_AWAKE], [], texts, {"r0": rating}, usual), embedder)
    assert [point.kind for point in chosen] == ([kind] if kind else [])
    for point in chosen:
        assert (point.taste_review, point.quality) == ("r0", "")
        assert point.taste == (KEPT_AWAKE.likes if kind is Kind.PRECEDENT_FOR else KEPT_AWAKE.dislikes)[0]


@pytest.mark.parametrize(("rating", "said"), [(5, {"dislikes": ("too dark to see",)}), (1, {"likes": ("fine music",)})])
def test_a_precedent_of_which_nothing_is_said_on_its_side_is_none(
    embedder: Embedder, rating: float, said: dict[str, tuple[str, ...]]
):
    texts = {"target": TARGET, "i0": NEARBY}
    assert points(sides([summary("r0", **said)], [], texts, {"r0": rating}, 3), embedder) == ()


def test_of_a_precedent_is_told_what_is_nearest_to_what_others_say(embedder: Embedder):
    texts = {"target": TARGET, "i0": NEARBY}
    music, fright = "the music of the strings is sublime", "it frightened me out of my wits"
    user = [summary("r0", likes=(music, fright))]
    for heard, told in (("the score is played by a lovely orchestra", music), ("it is a very scary thing", fright)):
        chosen = points(sides(user, [summary("q0", likes=(heard,))], texts, {"r0": 5}, 3), embedder)
        assert [(point.kind, point.taste) for point in chosen if point.taste] == [(Kind.PRECEDENT_FOR, told)]


def test_the_nearest_precedent_is_taken(embedder: Embedder):
    texts = {"target": TARGET, "i0": FAR, "i1": NEARBY}
    user = [summary("r0", likes=TENSE), summary("r1", likes=TENSE)]
    [point] = points(sides(user, [], texts, {"r0": 1, "r1": 5}), embedder)
    assert (point.kind, point.taste_review) == (Kind.PRECEDENT_FOR, "r1")


def test_where_all_is_near_nothing_is_a_precedent(embedder: Embedder):
    texts = {"target": TARGET, "i0": ALSO_NEARBY, "i1": NEARBY}
    user = [summary("r0", likes=TENSE), summary("r1", likes=TENSE)]
    for alone in ("i0", "i1"):
        pair = sides(user, [], {name: texts[name] for name in ("target", alone)}, {"r0": 5, "r1": 5}, 3)
        assert [point.kind for point in points(pair, embedder)] == [Kind.PRECEDENT_FOR]
    assert points(sides(user, [], texts, {"r0": 5, "r1": 5}, 3), embedder) == ()


def test_an_item_that_was_reviewed_twice_is_a_precedent_still(embedder: Embedder):
    user = [summary("r0", likes=TENSE), summary("r1", likes=TENSE)]
    pair = sides(user, [], {"target": TARGET, "i0": NEARBY}, {"r0": 5, "r1": 5}, 3)
    twice = [review.model_copy(update={"item_id": "i0"}) for review in pair.history.user_reviews]
    history = pair.history.model_copy(update={"user_reviews": tuple(twice)})
    assert [point.kind for point in points(pair._replace(history=history), embedder)] == [Kind.PRECEDENT_FOR]
