"""What a run learns from: no user and no text fills it, the newest is held back, what is frozen is never learned."""

from __future__ import annotations

import tracemalloc
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from whylike.adapters.training.arrived import FEWEST, MOST, Judged, choose, learnable, replayed, to_freeze
from whylike.memory.learned import Arrived
from whylike.settings import Settings

SETTINGS = Settings(learn_new=60, learn_of_user=5, learn_of_text=3, learn_frozen=30)


def came(count: int, *, users: int = 100, items: int = 80, first: int = 0) -> list[Arrived]:
    return [
        Arrived(f"r{number}", f"u{number % users}", f"i{number % items}", number + 1)
        for number in range(first, first + count)
    ]


def different(keys: list[str]) -> dict[str, str]:
    return {key: f"{key.translate(str.maketrans('0123456789', 'abcdefghij'))} is warm" for key in keys}


def test_the_newest_are_held_back_and_all_is_accounted_for() -> None:
    arrived = came(150)
    chosen = choose(reversed(arrived), set(), different, SETTINGS)
    assert chosen.newest == [f"r{number}" for number in range(149, 119, -1)]
    assert not set(chosen.new) & set(chosen.newest)
    assert all(int(key[1:]) < 120 for key in chosen.new)
    assert len(chosen.new) == 60
    assert len(arrived) == chosen.arrived == len(chosen.new) + len(chosen.newest) + sum(chosen.left_out.values())
    assert chosen == choose(reversed(arrived), set(), different, SETTINGS), (
        "a run that was killed chooses the same again"
    )


def test_however_many_came_in_few_are_in_memory_at_once() -> None:
    many = (each for first in range(50_000) for each in came(1, first=first))
    tracemalloc.start()
    try:
        assert choose(many, set(), different, SETTINGS).arrived == 50_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_flood_by_one_user_fills_few_places() -> None:
    flood = [Arrived(f"f{number}", "flooder", f"i{number % 80}", 1000 + number) for number in range(500)]
    chosen = choose(reversed([*came(150), *flood]), set(), different, SETTINGS)
    of_flood = [key for key in (*chosen.new, *chosen.newest) if key.startswith("f")]
    assert len(of_flood) == SETTINGS.learn_of_user
    assert chosen.left_out["more of one user"] == 495


def test_copies_of_one_text_fill_few_places_whatever_figures_and_signs_are_added() -> None:
    copies = [Arrived(f"c{number}", f"c{number}", f"i{number % 80}", number) for number in range(90)]
    others = came(60, first=1000)

    def texts(keys: list[str]) -> dict[str, str]:
        said = {key: f"Do NOT buy this, {key[1:]} times!" for key in keys if key.startswith("c")}
        return different(keys) | said

    chosen = choose(reversed([*others, *copies]), set(), texts, SETTINGS)
    of_copies = [key for key in (*chosen.new, *chosen.newest) if key.startswith("c")]
    assert len(of_copies) == SETTINGS.learn_of_text
    assert chosen.left_out["more of one text"] == 87
    without = choose(
        reversed([*others, *copies]),
        set(),
        lambda keys: {**different(keys), **{f"c{n}": "" for n in range(90)}},
        SETTINGS,
    )
    assert "more of one text" not in without.left_out, "ratings without a text are no copies of one another"


@given(st.integers(0, 600), st.integers(1, 200), st.integers(1, 50))
def test_whatever_comes_the_caps_hold_and_nothing_frozen_or_held_out_is_learned(
    count: int, users: int, items: int
) -> None:
    there = came(200)
    arrived = came(count, users=users, items=items, first=500)
    frozen = to_freeze([*there, *arrived], SETTINGS)
    chosen = choose(reversed(arrived), frozen.keys(), different, SETTINGS)
    by_key = {each.key: each for each in arrived}
    assert len(chosen.new) <= SETTINGS.learn_new
    assert len(chosen.newest) <= MOST
    assert len(chosen.newest) >= min(FEWEST, len(chosen.new))
    assert not {*chosen.new, *chosen.newest} & frozen.keys()
    assert all(learnable(by_key[key]) for key in chosen.new)
    most = Counter(by_key[key].user_id for key in (*chosen.new, *chosen.newest))
    assert max(most.values(), default=0) <= SETTINGS.learn_of_user
    assert count == len(chosen.new) + len(chosen.newest) + sum(chosen.left_out.values())


def test_frozen_examples_are_of_items_that_no_training_learns_from_and_of_many_users() -> None:
    there = came(3000)
    frozen = to_freeze(there, SETTINGS)
    assert len(frozen) == SETTINGS.learn_frozen
    assert not any(learnable(each) for each in there if each.key in frozen)
    assert max(Counter(frozen.values()).values()) <= SETTINGS.learn_of_user
    assert to_freeze(list(reversed(there)), SETTINGS) == frozen


def test_each_run_replays_another_sample() -> None:
    old = came(500)
    first, again, other = (replayed(old, Judged(), different, SETTINGS, count=20, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 20
    judged = Judged(keys=frozenset(first))
    assert not judged.keys & set(replayed(old, judged, different, SETTINGS, count=20, seed=1))


def test_what_is_judged_by_is_not_learned_as_another_copy_or_as_what_a_teacher_told_of_it() -> None:
    """One text stands with several items; and a teacher may have explained a pair to its user."""
    arrived = came(150)
    frozen = [*to_freeze(came(200, first=900), SETTINGS)][:5]
    [newest, *_] = choose(reversed(arrived), frozen, different, SETTINGS).newest
    by_key = {each.key: each for each in arrived}
    copies = [
        each._replace(key=f"copy of {key}", item_id="i1", position=0) for key in (newest, frozen[0]) for each in came(1)
    ]
    told = [by_key[newest]._replace(key=f"told {n}", position=0, judges=False) for n in range(2)]
    other = came(1)[0]._replace(key="told of another", user_id="new", item_id="i1", position=0, judges=False)

    def texts(keys: list[str]) -> dict[str, str]:
        written = {key: key.removeprefix("copy of ") for key in keys if not key.startswith("told")}
        return {key: different([name])[name] for key, name in written.items()}

    assert learnable(other)
    roomy = SETTINGS.model_copy(update={"learn_new": 300, "learn_of_user": 300})
    old = [*copies, *told, other]
    chosen = choose(reversed([*old, *arrived]), frozen, texts, roomy)
    assert newest in chosen.newest
    assert set(chosen.new) & {each.key for each in old} == {other.key}
    assert chosen.left_out["told of what is to judge by"] == 4
    assert replayed(old, chosen.judged, texts, roomy, count=9, seed=0) == [other.key]
