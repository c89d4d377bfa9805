"""How reasons are measured: on cases made by hand, and on a small store with a scripted model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lettered import Letters

from whylike.adapters.engines.base import Adapter, Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.adapters.training.teach import examples_for, held_out
from whylike.agents.calibration import Readout
from whylike.errors import UsageError
from whylike.evaluation import resampling
from whylike.evaluation.reasoning import Rated, Readouts, Reasoned, newest, rate, reason_of
from whylike.evaluation.reasons import ReasonWay, evaluate_reasons, measure
from whylike.explanation import Reason, Sentence
from whylike.graph import services as services_module
from whylike.graph.services import Services
from whylike.memory.store import Store
from whylike.records import Expert, Item, RatingScale, ReasonAnnotation, Review
from whylike.records import Rated as Rates
from whylike.settings import Settings

READOUT = Readout(scale=RatingScale(), general=4, user=Rates(), item=Rates())


@pytest.fixture(autouse=True)
def _fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "PERMUTATIONS", 499)
    monkeypatch.setattr(services_module, "Embedder", Letters)


def review(number: int, rating: float = 4, text: str = "Warm sound.") -> Review:
    return Review(
        review_id=f"r{number}", user_id=f"u{number}", item_id=f"i{number}", rating=rating, text=text, timestamp=number
    )


def reasoned(number: int, *sentences: str, rating: float = 4, written: tuple[str, ...] = (), **changes) -> Reasoned:
    reason = Reason(
        text=" ".join(sentences),
        sentences=[Sentence(text=each, evidence=[], supported=not each.startswith("Un")) for each in sentences],
    )
    made = Reasoned(review(number, rating), written or sentences, reason if sentences else None, (), (), READOUT)
    return made._replace(**changes)


def measured(
    *those: Reasoned, rated: dict[int, Rated] | None = None, tones: dict[int, float] | None = None
) -> ReasonWay:
    tones = tones or dict.fromkeys(range(len(those)), 1.0)
    return measure(those, rated or {}, tones, Letters(), adapter="a", seconds=1, seed=0)


# --- by hand


def test_sentences_are_counted():
    found = measured(
        reasoned(1, "Warm it is.", "Unlikely so.", "warm it is"),
        reasoned(2, "Warm it is."),
        reasoned(3, "Warm it is."),
        reasoned(4),
    )
    assert (found.without, found.sentences) == (1, 5)
    assert (found.supported, found.repeated) == (0.8, 0.2)
    assert found.words == pytest.approx((8 + 3 + 3) / 3, abs=0.1)
    assert found.same == pytest.approx(2 / 3, abs=1e-4)


def test_personal_is_what_rests_on_the_users_own_reviews():
    """Of users who had written any."""

    def resting(number: int, own: set[str], *evidence: str) -> Reasoned:
        told = Sentence(text="Warm.", evidence=list(evidence), supported=True)
        return reasoned(number, "Warm.", own=frozenset(own), reason=Reason(text="Warm.", sentences=[told]))

    found = measured(resting(1, {"a"}, "x", "a"), resting(2, {"b"}, "x"), resting(3, {"c"}), resting(4, set(), "x"))
    assert found.personal == pytest.approx(1 / 3, abs=1e-4)
    assert measured(resting(4, set(), "x")).personal is None


def test_pairs_of_words_are_counted_within_a_reason_and_across():
    found = measured(reasoned(1, "a b a b."), reasoned(2, "a b c d."))
    assert found.distinct_within == pytest.approx((2 / 3 + 1) / 2, abs=1e-4)  # ab ba ab; ab bc cd
    assert found.distinct_across == pytest.approx(4 / 6, abs=1e-4)


def test_what_states_a_rating_is_a_leak_but_not_a_title():
    found = measured(
        reasoned(1, "It is fine.", written=("It is fine.", "Four out of five.")),
        reasoned(2, "Close to Five Stars.", titles=("Five Stars",)),
        reasoned(3, "Five stars for it."),
    )
    assert found.stating == pytest.approx(1 / 3, abs=1e-4)
    assert found.stating_when_written == pytest.approx(2 / 3, abs=1e-4)
    assert found.leaking == pytest.approx(2 / 3, abs=1e-4), "a rating might hide behind such a title"


def test_the_stricter_check_also_counts_what_has_any_number_that_could_be_a_rating():
    found = measured(
        reasoned(1, "The first 3 tracks are fine."), reasoned(2, "All 12 are."), reasoned(3, "Like 4.", titles=("4",))
    )
    assert (found.stating, found.leaking) == (0, pytest.approx(2 / 3, abs=1e-4))


def test_copied_are_words_in_a_row_that_are_not_marked_as_quoted():
    long = "one two three four five six seven eight nine"
    found = measured(
        reasoned(1, f"They say {long}.", evidence=(f"Well, {long}!",)),
        reasoned(2, f"They say “{long}”.", evidence=(long,)),
    )
    assert found.copied == 0.5


def test_likeness_is_to_the_users_review_beside_a_strangers():
    those = [
        reasoned(number, f"{letter}: so it is.")._replace(review=review(number, text=f"{letter} sound."))
        for number, letter in enumerate("abcdef")
    ]
    # The reviews have no title, so that all begin with the same mark but for the text's letter.
    those = [each._replace(review=each.review.model_copy(update={"title": each.review.text[0]})) for each in those]
    found = measured(*those).likeness
    assert found
    assert (found.own, found.other) == (1, 0)
    assert found.difference.low == found.difference.high == 1
    assert measured(those[0]).likeness is None


def test_the_interval_of_the_likeness_is_of_drawing_the_users():
    def by(number: int, user: str) -> Reasoned:
        letter = "abcdefghijkl"[number]
        written = review(number, text=letter).model_copy(update={"title": letter, "user_id": user})
        return reasoned(number, f"{letter if number % 2 else 'z'}: so it is.")._replace(review=written)

    apart = measured(*(by(number, f"u{number}") for number in range(12))).likeness
    together = measured(*(by(number, f"u{number // 2}") for number in range(12))).likeness
    assert apart
    assert together
    assert (apart.own, together.own) == (0.5, 0.5), "every user has one reason that is close, and one that is not"
    assert apart.difference.high - apart.difference.low > together.difference.high - together.difference.low


def test_polarity_is_agreement_of_the_tone_with_the_rating():
    those = [reasoned(number, f"It is {number}.", rating=1 + number % 5) for number in range(20)]
    along, against = ({number: sign * (number % 5) for number in range(20)} for sign in (1.0, -1.0))
    found = measured(*those, tones=along).polarity
    assert found
    assert (found.correlation, found.tone) == (1, 2)
    assert found.p < 0.01
    other = measured(*those, tones=against).polarity
    assert other
    assert (other.correlation, other.p) == (-1, 1)


def test_a_read_out_that_follows_the_reason_passes_the_swap_test_and_one_that_does_not_fails_it():
    those = [reasoned(number, f"It is {number}.", "So.", rating=5 if number % 2 else 1) for number in range(20)]
    tones = {number: 1.0 if number % 2 else -1.0 for number in range(20)}

    def follows(number: int) -> float:
        return 3 + tones[number]

    rated = {
        number: Rated(
            partner=number ^ 1,
            own=Readouts(follows(number), 3),
            other=Readouts(follows(number ^ 1), 3),
            reordered=Readouts(follows(number) + 0.5, 3),
        )
        for number in range(20)
    }
    found = measured(*those, rated=rated, tones=tones).swap
    good, deaf = found["expectation"], found["uncalibrated_expectation"]
    assert (good.moved, good.reordered, good.nearer, good.follows) == (2, 0.5, 2, 1)
    assert max(good.moved_p, good.follows_p, good.nearer_p) < 0.01
    assert (deaf.moved, deaf.reordered, deaf.nearer, deaf.follows) == (0, 0, 0, 0)
    assert min(deaf.moved_p, deaf.follows_p, deaf.nearer_p) == 1


def test_without_any_reason_there_are_no_figures_and_no_error():
    found = measured(reasoned(1), reasoned(2))
    assert (found.without, found.sentences, found.swap) == (2, 0, {})
    assert found.supported is found.likeness is found.polarity is found.distinct_across is None


# --- a small store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(Settings(store=tmp_path / "store")) as opened:
        yield opened


def fill(store: Store, count: int = 60) -> None:
    store.add_items(Item(item_id=f"i{number}", title=f"Item {number}") for number in range(7))
    store.add_reviews(
        Review(
            review_id=f"r{number:02}",
            user_id=f"u{number % 10}",
            item_id=f"i{number % 7}",
            rating=1 + number % 5,
            text="" if number == 55 else f"Bright strings all through, {number}. Cheap covers tear at once, {number}.",
            title="Warm",
            timestamp=100 + number // 2,
        )
        for number in range(count)
    )


def test_the_newest_tenth_is_taken_whole_moments_only_and_a_seed_draws_from_it(store: Store):
    fill(store)
    # Six of sixty; 54 and 55 are of one moment, and 55 has no text.
    assert sorted(each.review_id for each in newest(store, None, 0)) == ["r54", "r56", "r57", "r58", "r59"]
    some = newest(store, 2, 1)
    assert len(some) == 2
    assert some == newest(store, 2, 1)


def test_items_of_which_reasons_are_learned_are_left_out(store: Store):
    fill(store)
    every = newest(store, None, 0)
    titles = {each.review_id: store.item(each.item_id).title for each in every}
    told = ReasonAnnotation(
        title="",
        user_likes=("loud guitars",),
        item_likes=("soft songs",),
        text="The user enjoys loud guitars. It has soft songs.",
    )
    spared, *others = sorted(set(titles.values()))
    store.add_annotations([told.model_copy(update={"title": title}) for title in others], "test")
    left = newest(store, None, 0)
    held = held_out(examples_for(Expert.REASONER, store))[1]
    assert {titles[each.review_id] for each in left} == {spared, *(example.group for example in held)}
    assert len(left) < len(every)


def test_a_store_of_whose_newest_reviews_none_can_be_explained_is_refused(tmp_path: Path):
    with Store.open(Settings(store=tmp_path / "mute")) as mute:
        mute.add_reviews(review(number, text="Words." if number < 80 else "") for number in range(100))
        with pytest.raises(UsageError, match="none has a text"):
            newest(mute, 5, 0)


def test_a_store_that_is_too_small_is_refused(store: Store):
    fill(store, 2)
    with pytest.raises(UsageError, match="has 2 reviews"):
        newest(store, None, 0)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A Reasoner that is left free tells the half of what it was told, and invents the other half."""
    held = ScriptedEngine()

    def writes(request: Writing) -> str:
        if request.grammar:
            return held.write([request])[0].text
        likes = request.prompt.messages[-1].content.partition("The user likes: ")[2].partition("\n")[0]
        return f"The user likes {likes}. It is blue and was made in Peru."

    settings = Settings(store=tmp_path / "store", engine="scripted")
    with Services.open(settings, engine=ScriptedEngine({Expert.REASONER: writes})) as opened:
        fill(opened.store)
        yield opened


def test_a_pair_is_explained_as_of_its_review_and_rated_with_a_strangers_reason(services: Services):
    those = [reason_of(services, each) for each in newest(services.store, None, 0)]
    for each in those:
        assert each.reason
        assert list(each.written) == [sentence.text for sentence in each.reason.sentences]
        assert each.titles
        assert not any(each.review.text in told for told in each.evidence), "nothing of the review itself is known"
    services.engine.history.clear()
    news = []
    rated = rate(services, those, 0, lambda *told: news.append(told))
    assert news[-1] == (len(rated), len(rated))
    assert rated
    asked = [request.prompt.prefill for request in services.engine.history]
    for number, each in rated.items():
        assert those[number].review.user_id != those[each.partner].review.user_id
        assert those[number].review.item_id != those[each.partner].review.item_id
        assert any(those[each.partner].reason.text in prompt for prompt in asked)
    assert any(each.own != each.other for each in rated.values())
    assert all(each.reordered and each.own != each.reordered for each in rated.values())


def test_an_adapter_is_measured_beside_the_base_model(services: Services, tmp_path: Path):
    (tmp_path / "adapter_config.json").touch()
    adapter = Adapter(version="reasoner-00000000", folder=tmp_path)
    news = []
    reviews = newest(services.store, 4, 0)
    ways = {"adapter": {Expert.REASONER: adapter}, "base": {}}
    found = evaluate_reasons(services, reviews, ways, 0, lambda *told: news.append(told))
    assert found.pairs == 4
    assert {name: way.adapter for name, way in found.ways.items()} == {
        "adapter": adapter.version,
        "base": "base:scripted",
    }
    assert found.settings.adapters[Expert.REASONER] == adapter.version
    for way in found.ways.values():
        assert (way.without, way.supported, way.stating) == (0, 1, 0)
        assert way.served == (0.5 if way.adapter == adapter.version else 1)
        assert list(way.swap) == ["expectation", "uncalibrated_expectation"]
        assert way.polarity
    assert found.ways["base"].copied == 0
    assert {step for step, *_ in news} == {
        "summarizing reviews",
        "explaining pairs, adapter",
        "explaining pairs, base",
        "swapping reasons, adapter",
        "swapping reasons, base",
        "listening to the tone",
    }
