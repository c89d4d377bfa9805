"""Stems, also where several threads ask at once, as the nodes that summarize do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from whylike.agents.stems import stems

WORDS = ["beautiful", "running", "guitars", "performances", "emotional", "generosity", "nationality"] * 20


def test_forms_of_a_word_have_one_stem():
    assert stems(["song", "songs", "warm", "warmest", "singing"]) == ["song", "song", "warm", "warmest", "sing"]
    assert stems([]) == []


def test_threads_at_once_get_their_own_stems():
    expected = stems(WORDS)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(lambda _: stems(WORDS), range(100)))
