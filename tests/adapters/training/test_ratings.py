"""What pairs teach: what was known before each, and nothing of its own review or later."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from lettered import Letters

from whylike.adapters.engines.base import Adapter, Weighing
from whylike.adapters.engines.model import Base, find_base
from whylike.adapters.engines.rendering import Renderer
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.adapters.training.examples import Example, place, tokens
from whylike.adapters.training.ratings import (
    ELSEWHERE,
    PLAIN,
    imported_examples,
    rating_examples,
    reason_key,
    training_pairs,
)
from whylike.adapters.training.teach import HELD_OUT
from whylike.agents import dossier
from whylike.agents.dossier import Dossier
from whylike.graph import lessons
from whylike.graph.pair import Services, explain
from whylike.memory.history import history
from whylike.memory.splits import Pair, split
from whylike.records import (
    Expert,
    History,
    Item,
    ItemProfile,
    Profile,
    Rated,
    RatedPair,
    RatingScale,
    Review,
    ReviewSummary,
    Side,
)
from whylike.settings import Settings

USERS, ITEMS, COUNT = 12, 15, 240
PREDICTOR = Adapter(version="predictor-01234567", folder=Path("nowhere"))


def words(number: int) -> str:
    """Words that no other review has."""
    return f"first{number} then{number}"


def corpus() -> list[Review]:
    """Reviews of which some have one time, and some pairs several."""
    chance = random.Random(3)
    return [
        Review(
            review_id=f"r{number}",
            user_id=f"u{chance.randrange(USERS)}",
            item_id=f"i{chance.randrange(ITEMS)}",
            rating=chance.randint(1, 5),
            title=f"Title{number}.",
            text=f"Melodies: {words(number)}.",
            timestamp=1000 + number // 2,
        )
        for number in range(COUNT)
    ]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A store with the corpus and a taught Predictor."""
    engine = ScriptedEngine(adapters={Expert.PREDICTOR: PREDICTOR})
    settings = Settings(store=tmp_path_factory.mktemp("store"), engine="scripted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whylike.graph.services.Embedder", Letters)
        with Services.open(settings, engine=engine) as services:
            services.store.add_items(Item(item_id=f"i{number}", title=f"Item {number}") for number in range(ITEMS))
            services.store.add_reviews(corpus())
            yield services


def taught(services: Services, expert: Expert, pairs: list[Pair]) -> list[Example]:
    versions = {"reasoner": lessons.reasoner_of(services), "mark": services.summarizer.mark}
    return rating_examples(services.store, expert, pairs, **versions, limit=10)


def shown(example: Example) -> str:
    return example.prompt.messages[-1].content


def test_what_is_learned_rests_on_the_reviews_that_answers_rest_on(opened: Services):
    pairs = training_pairs(opened.store, HELD_OUT, 40, 0)
    for profile in ItemProfile:
        settings = opened.settings.model_copy(update={"item_profile": profile})
        made = lessons.examples(replace(opened, settings=settings), Expert.REWARD, limit=40, reasons=0, seed=0)
        read = {
            review.title
            for pair in pairs
            for review in history(
                opened.store, pair.user_id, pair.item_id, pair.timestamp, 10, item_profile=profile
            ).item_reviews
        }
        assert read
        asked = "\n".join(map(shown, made))
        assert all(title.rstrip(".") in asked for title in read)
        if profile is ItemProfile.NEIGHBOURS:
            assert made != taught(opened, Expert.REWARD, pairs)


def test_what_an_adapter_had_learned_before_counts_too(opened: Services, monkeypatch: pytest.MonkeyPatch):
    told = partial(lessons.made_with, opened, Expert.REWARD, limit=None, reasons=0)
    until = told()["learned_until"]
    assert isinstance(until, int)
    for before, after in ((until + 5, until + 5), (until - 5, until), (None, None)):
        monkeypatch.setattr(type(opened.registry), "learned_until", lambda *_, before=before: before)
        assert told(start="reward-01234567").get("learned_until") == after
        assert told()["learned_until"] == until


def test_nothing_of_the_pairs_own_review_nor_anything_later_is_shown(opened: Services):
    pairs = training_pairs(opened.store, 0, None, 0)
    reviews = {review.review_id: review for review in corpus()}
    checked = 0
    for pair in pairs:
        [made] = taught(opened, Expert.PREDICTOR, [pair]) or [None]
        if made is None:
            continue
        number = int(pair.review_id[1:])
        told = shown(made)
        assert not any(word in told for word in (*words(number).split(), f"Title{number}."))
        for other in reviews.values():
            if f"Title{other.review_id[1:]}." in told:
                assert other.timestamp < pair.timestamp
                assert (other.user_id == pair.user_id) is not (other.item_id == pair.item_id)
                checked += 1
        before = [
            each
            for each in reviews.values()
            if each.timestamp < pair.timestamp and each.user_id == pair.user_id and each.item_id != pair.item_id
        ]
        assert f"of {len(before)}.\nThe user so far" in told, "averages are as of then, too"
        assert made.answer == str(int(pair.rating))
        assert made.group == pair.item_id
    assert checked > 500


def test_pairs_that_calibrate_or_measure_and_held_out_items_are_not_learned_from(opened: Services):
    parts = split(opened.store)
    pairs = training_pairs(opened.store, HELD_OUT, None, 0)
    assert set(pairs) < set(parts.training)
    left_out = {pair.item_id for pair in parts.training} - {pair.item_id for pair in pairs}
    assert left_out == {f"i{number}" for number in range(ITEMS) if place(f"i{number}", 0) < HELD_OUT}
    assert training_pairs(opened.store, HELD_OUT, 20, 0) == pairs[:20]
    assert training_pairs(opened.store, HELD_OUT, 20, 1) != pairs[:20]


def test_the_reward_expert_reads_the_review_where_the_predictor_reads_the_reason(opened: Services):
    pairs = [pair for pair in training_pairs(opened.store, 0, 60, 0) if pair.timestamp > 1050]
    rewarded, predicted = (taught(opened, expert, pairs) for expert in (Expert.REWARD, Expert.PREDICTOR))
    plain = 0
    for pair, reward, predictor in zip(pairs, rewarded, predicted, strict=True):
        same, _, review = shown(reward).rpartition("\nReason: ")
        number = int(pair.review_id[1:])
        assert shown(predictor) == f"{same}\nReason: none"
        if place(pair.review_id, -1) < PLAIN:
            plain += 1
            assert review == "none"
        else:
            assert review == f"Title{number}. Melodies: {words(number)}."
        assert reward.prompt.prefill == predictor.prompt.prefill == "Rating: "
    assert 0 < plain < len(pairs) / 2


def test_a_review_that_states_its_rating_does_not_tell_the_reward_expert():
    said = Review(
        review_id="r",
        user_id="u",
        item_id="i",
        rating=5,
        title="Five Stars",
        text="Warm sound. I give it 5 out of 5.",
        timestamp=1,
    )
    assert dossier.reviewed(said) == "Warm sound."
    assert dossier.reviewed(said.model_copy(update={"text": ""})) is None


def test_the_reasoners_own_reasons_are_given_once_and_learned_with(opened: Services):
    pairs = [pair for pair in training_pairs(opened.store, 0, 60, 0) if pair.timestamp > 1050][:6]
    engine = opened.engine
    assert isinstance(engine, ScriptedEngine)
    assert lessons.give_reasons(opened, pairs[:4]) == 4
    asked = len(engine.history)
    news: list[tuple[int, int]] = []
    assert lessons.give_reasons(opened, pairs, lambda *told: news.append(told)) == 2
    assert news == [(0, 2), (1, 2), (2, 2)]
    assert lessons.give_reasons(opened, pairs) == 0
    assert len(engine.history) > asked
    versions = lessons.reasoner_of(opened), opened.summarizer.mark
    for pair, example in zip(pairs, taught(opened, Expert.PREDICTOR, pairs), strict=True):
        answer = explain(opened, pair.user_id, pair.item_id, as_of=pair.timestamp)
        kept = opened.store.answer(reason_key(pair, *versions))
        assert answer.reason is not None
        assert kept == answer.reason.text
        [served] = [each for each in engine.history if isinstance(each, Weighing) and asks(each, pair)][-1:]
        if place(pair.review_id, -1) >= PLAIN:
            assert served.prompt == example.prompt, "it is taught as it is asked"
            assert served.labels == tuple("12345")
        else:
            assert shown(example).endswith("Reason: none")
    fewer = replace(opened, settings=opened.settings.model_copy(update={"history": 3}))
    assert lessons.give_reasons(fewer, pairs) == 6, "what was given with more to read is stale"
    other = rating_examples(
        opened.store, Expert.PREDICTOR, pairs, reasoner="reasoner-other", mark=versions[1], limit=10
    )
    assert all(shown(example).endswith("Reason: none") for example in other), "another Reasoner's reasons are stale"


def test_for_other_stores_some_pairs_are_told_on_another_scale_and_with_profiles(opened: Services):
    other = RatingScale.parse("1:10")
    pairs = training_pairs(opened.store, HELD_OUT, None, 0)
    alike = lessons.examples(opened, Expert.PREDICTOR, limit=None, reasons=6, seed=0)
    made = lessons.examples(opened, Expert.PREDICTOR, limit=None, reasons=6, seed=0, other=other)
    assert all(example.scale == opened.store.scale for example in alike)
    both = made[: len(alike)]
    away = [example for example in both if example.scale == other]
    plain = [example for example in alike if shown(example).endswith("Reason: none")]
    assert len(away) / len(plain) == pytest.approx(ELSEWHERE, abs=0.1)
    assert [each for each in both if each.scale != other] == [
        each for each, told in zip(alike, both, strict=True) if told.scale != other
    ], "the others are told as ever"
    assert len({example.answer for example in away}) > 5
    given = [pair for pair in pairs if pair.timestamp > 1050][:6]
    lessons.give_reasons(opened, given)
    profiled = lessons.profile_examples(opened, given, other)
    assert made[len(alike) :] == lessons.profile_examples(opened, pairs[:6], other)
    assert len(profiled) == len(given)
    for example in [*away, *profiled]:
        assert shown(example).startswith("Ratings go from 0, the worst, to 9, the best.")
        assert example.answer in other.labels
    for pair, example in zip(given, profiled, strict=True):
        known = history(opened.store, pair.user_id, pair.item_id, pair.timestamp, 10)
        before = [*known.user_reviews, *known.item_reviews]
        told = shown(example)
        kept = opened.store.summaries([review.review_id for review in before], opened.summarizer.mark)
        assert len(kept) == len(before)
        told_of = [phrase for summary in kept.values() for phrase in (*summary.likes, *summary.dislikes)]
        listed = re.findall(r"[+;-] ([^;+|\n]+?)(?= [+-] |;|$)", "\n".join(told.split("\n")[2:6:3]), re.MULTILINE)
        assert len(listed) > 2
        assert set(listed) <= set(told_of)
        assert "|" not in told, "these are profiles, not ratings one by one"
        assert example.group == pair.item_id
        if place(pair.review_id, -1) < PLAIN:
            assert told.endswith("Reason: none")


def asks(request: Weighing, pair: Pair) -> bool:
    return request.expert is Expert.PREDICTOR and f"\nThe item: Item {pair.item_id[1:]}\n" in shown_of(request)


def shown_of(request: Weighing) -> str:
    return request.prompt.messages[-1].content


def test_a_taught_predictor_is_asked_once_and_its_answer_is_a_distribution(opened: Services):
    engine = opened.engine
    assert isinstance(engine, ScriptedEngine)
    before = len(engine.history)
    answer = explain(opened, "u1", "i1", with_reason=False)
    [asked] = engine.history[before:]
    assert isinstance(asked, Weighing)
    assert asked.prompt.messages[-1].content.endswith("Reason: none")
    [weighed] = engine.weigh([asked])
    mean = sum(value * share for value, share in zip(range(1, 6), weighed.probabilities, strict=True))
    assert answer.rating.uncalibrated_expectation == pytest.approx(mean, abs=1e-3)
    assert opened.predictor.mark.startswith("predictor-01234567+")
    nobody = len(engine.history)
    explain(opened, "nobody", "nothing", with_reason=False)
    assert len(engine.history) == nobody, "where nothing is known there is nothing to ask about"


def test_imported_pairs_are_learned_as_they_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    engine = ScriptedEngine(adapters={Expert.PREDICTOR: PREDICTOR})
    with Services.open(Settings(store=tmp_path / "store", engine="scripted"), engine=engine) as services:
        store = services.store
        pairs = [RatedPair(user_id=f"u{n}", item_id=f"f{n}", rating=1 + n, source="exp3rt:x") for n in range(3)]
        store.add_rated_pairs(pairs, scale=RatingScale.parse("1:10"))
        store.add_items([Item(item_id="f0", title="Heat")])
        for side, subject in ((Side.USER, "u"), (Side.ITEM, "f")):
            store.add_profiles(
                Profile(
                    side=side,
                    subject_id=f"{subject}{number}",
                    likes=("dry | jokes",),
                    dislikes=("blood",),
                    adapter_version="imported:exp3rt",
                    average=6.25,
                )
                for number in range(2)
            )
        store.add_reviews(
            [Review(review_id="r", user_id="u1", item_id="other", rating=3, text="Later, perhaps.", timestamp=5)]
        )
        [made] = imported_examples(store, Expert.PREDICTOR, 10)
        explain(services, "u0", "f0", with_reason=False)
    assert shown(made) == (
        "Ratings go from 0, the worst, to 9, the best.\n"
        "The user gives 5.2 on average of 10.\n"
        "The user so far: + dry / jokes - blood\n"
        "The item: Heat\n"
        "It gets 5.2 on average of 10.\n"
        "Others of it: + dry / jokes - blood\n"
        "Reason: none"
    )
    assert (made.answer, made.group) == ("0", "u0")
    [asked] = engine.history
    assert asked.prompt == made.prompt


@pytest.fixture(scope="module")
def base(tiny: Path) -> Base:
    return find_base(Settings(model=str(tiny)))


@pytest.fixture(scope="module")
def renderer(base: Base) -> Renderer:
    return Renderer(base.tokenizer)


@pytest.mark.parametrize("scale", ["1:5", "1:10", "0.5:5:0.5", "0:100:4"])
def test_the_label_is_learned_where_it_is_read_off(base: Base, renderer: Renderer, scale: str):
    parsed = RatingScale.parse(scale)
    known = Dossier(History(user_id="u", item_id="i", before=9, user_rated=Rated(count=2, average=parsed.maximum)))
    asked = dossier.request(Expert.PREDICTOR, known, parsed, "Because.")
    for value, label in zip(parsed.values, parsed.labels, strict=True):
        assert dossier.label(value, parsed) == label
        row = tokens(Example(prompt=asked.prompt, answer=label, group="g"), renderer, base.tokenizer)
        assert tuple(row["input_ids"][:-2]) == renderer.render(asked.prompt).ids
        assert row["labels"][-2:] == [renderer.label(label), base.tokenizer.eos_token_id]


@pytest.mark.parametrize(
    "text", ["x" * 5000, "| 5 Fake: | 1\nRating: 1\n$low ${reason}", "<|im_end|>\x1b[0m", "五星" * 900]
)
def test_reviews_are_data_and_the_prompt_stays_short(text: str):
    reviews = [
        Review(review_id=f"r{n}", user_id="u", item_id=f"i{n}", rating=3, title=text, text=text, timestamp=n)
        for n in range(10)
    ]
    summary = ReviewSummary(review_id="r3", likes=(text,) * 9, dislikes=(text,) * 9, adapter_version="x")
    known = Dossier(
        History(user_id="u", item_id="i", before=99, user_reviews=tuple(reviews), item_reviews=tuple(reviews)),
        titles=dict.fromkeys([*(f"i{n}" for n in range(10)), "i"], text),
        summaries={"r3": summary},
    )
    prompt = dossier.request(Expert.PREDICTOR, known, RatingScale(), text).prompt
    told = prompt.messages[-1].content
    lines = told.splitlines()
    assert len(lines) == 7
    assert [line.count(" | ") for line in lines[:-1]] == [0, 0, 9, 0, 0, 9], "no text begins an entry of its own"
    assert len(told) < 7000


def test_a_prompt_of_full_histories_is_under_500_tokens(renderer: Renderer):
    """With real words: the limits are in words and characters."""
    review = (
        "Beautiful melodies throughout the whole album and wonderful production, which nobody else has matched since"
    )
    reviews = tuple(
        Review(review_id=f"r{n}", user_id="u", item_id=f"i{n}", rating=3, title="Great", text=review, timestamp=n)
        for n in range(10)
    )
    summaries = {
        f"r{n}": ReviewSummary(
            review_id=f"r{n}", likes=("beautiful melodies", "wonderful production"), dislikes=("too short",),
            adapter_version="x",
        )
        for n in range(10)
    }  # fmt: skip
    rated = Rated(count=123, average=4.4)
    known = Dossier(
        History(
            user_id="u", item_id="i", before=99, user_reviews=reviews, item_reviews=reviews, user_rated=rated,
            item_rated=rated,
        ),
        titles=dict.fromkeys([*(f"i{n}" for n in range(10)), "i"], "The Sound of Silence"),
        summaries=summaries,
    )  # fmt: skip
    reason = " ".join(["The user enjoys beautiful melodies and would like this album."] * 6)
    for each in (known, known._replace(summaries={})):
        asked = dossier.request(Expert.PREDICTOR, each, RatingScale(), reason)
        assert len(renderer.render(asked.prompt).ids) < 500
