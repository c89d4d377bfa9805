"""`whylike evaluate ratings`, whole, on invented reviews with a scripted model; and on the real ones."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from readme import commands
from released import pair
from rich.console import Console
from typer.testing import CliRunner

import whylike.cli
from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.calibration import AVERAGES, MODEL, Nested
from whylike.agents.predictor import Predictor
from whylike.dates import day
from whylike.errors import UsageError
from whylike.evaluation.ablating import ablate
from whylike.evaluation.ablation import Ablation
from whylike.evaluation.asking import explained
from whylike.evaluation.figures import sliced
from whylike.evaluation.ratings import RatingsEvaluation, evaluate
from whylike.evaluation.report import write_report
from whylike.graph.pair import explain
from whylike.graph.services import Services
from whylike.memory.ingest import ingest
from whylike.memory.splits import split
from whylike.memory.store import Store
from whylike.ratings_card import ratings_card
from whylike.records import Expert, RatingScale, Review
from whylike.settings import Settings

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
TASTES = {"loud": 4, "quiet": 3}
NAMED = {
    "pairs",
    "readouts",
    "baselines",
    "differences",
    "slices",
    "seconds_per_pair",
}


def reviews() -> Iterator[Review]:
    """160 reviews of twelve things by twenty people, some kinder than others."""
    chance = random.Random(1)
    for number in range(160):
        user, item = chance.randrange(20), chance.randrange(12)
        place = 3.2 + (user % 5 - 2) * 0.5 + (item % 3 - 1) * 0.6 + chance.gauss(0, 0.6)
        yield Review(
            review_id=f"r{number}",
            user_id=f"u{user}",
            item_id=f"i{item}",
            rating=float(min(max(round(place), 1), 5)),
            text=chance.choice(["The sound is warm and full.", "The strap broke.", "It hums."]),
            timestamp=1_500_000_000 + number // 2,
        )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = Settings(store=tmp_path_factory.mktemp("ratings") / "store", engine="scripted")
    with Store.open(made) as store:
        store.add_reviews(reviews())
    return made


@pytest.fixture(scope="module")
def whole(settings: Settings) -> RatingsEvaluation:
    with Services.open(settings) as services:
        return evaluate(services, limit=12, validation=14, ablations=tuple(Ablation))


def test_the_document_has_what_it_promises(whole: RatingsEvaluation):
    document = json.loads(whole.model_dump_json())
    assert set(document) >= NAMED
    assert set(document["readouts"]) >= {"expectation", "mode", "calibrated"}
    assert set(document["baselines"]) >= {"global", "user_mean", "item_mean", "bias", "matrix_factorisation"}
    assert {"calibrated-bias", "calibrated-matrix_factorisation"} <= set(document["differences"])
    assert document["pairs"] == 12
    assert document["heard"] == 12
    assert sum(part["pairs"] for part in document["slices"].values()) == 12
    assert document["parts"] == {"training": 128, "validation": 16, "test": 16}
    assert set(document["ablations"]) == {name.value for name in Ablation}
    assert 0 < document["ablations"]["item-profile-neighbours"]["changed"] <= 12
    assert RatingsEvaluation.model_validate(document) == whole


def test_the_figures_are_of_the_same_pairs(whole: RatingsEvaluation):
    for name, found in whole.differences.items():
        one, other = name.split("-")
        assert found.rmse == pytest.approx(whole.readouts[one].rmse - whole.baselines[other].rmse, abs=2e-4)
        assert found.low <= found.rmse <= found.high
    for figures in (*whole.readouts.values(), *whole.baselines.values()):
        assert 0 <= figures.mae <= figures.rmse <= 4
    for ablated in whole.ablations.values():
        gap = ablated.readouts["calibrated"].rmse - whole.readouts["calibrated"].rmse
        assert ablated.difference.rmse == pytest.approx(gap, abs=2e-4)
    alone = whole.ablations[Ablation.ONE_STEP]
    assert alone.heard == 12
    assert alone.model_difference
    gap = alone.readouts["expectation"].rmse - whole.readouts["expectation"].rmse
    assert alone.model_difference.rmse == pytest.approx(gap, abs=2e-4)
    unheard = whole.ablations[Ablation.NO_REASON]
    assert (unheard.heard, unheard.model_difference) == (0, None), "untaught, it is not asked without a reason"
    assert set(unheard.readouts) == {"calibrated"}
    for part in whole.slices.values():
        gap = part.readouts["calibrated"].rmse - part.baselines["bias"].rmse
        assert part.difference.rmse == pytest.approx(gap, abs=2e-4)


def test_a_second_run_says_the_same_and_asks_the_model_nothing(settings: Settings, whole: RatingsEvaluation):
    silent = ScriptedEngine(fail_on=range(1, 100))
    with Services.open(settings, engine=silent) as services:
        again = evaluate(services, limit=12, validation=14, ablations=tuple(Ablation))
    assert not silent.history
    same = {"seconds_per_pair", "machine", "settings"}
    assert again.model_dump(exclude=same) == whole.model_dump(exclude=same)


@pytest.mark.parametrize(
    ("name", "averages", "rated", "reason"),
    [
        (Ablation.NO_REASON, r"[1-5]\.\d", "[1-5] ", "none"),
        (Ablation.NO_AVERAGES, r"\?", "none", "(?!none|Elsewhere|Of this)."),
        (Ablation.ONE_STEP, r"[1-5]\.\d", "[1-5] ", "Elsewhere the user gave [1-5] and wrote"),
    ],
)
def test_a_taught_predictor_is_asked_without_the_part(
    name: Ablation, averages: str, rated: str, reason: str, settings: Settings
):
    """Of pairs of whom nothing is known the prompts say less, so most of them are looked at."""
    adapter = Adapter(version=f"predictor-{name.value}", folder=settings.store)
    engine = ScriptedEngine(adapters={Expert.PREDICTOR: adapter})
    with Services.open(settings, engine=engine) as services:
        evaluate(services, limit=12, validation=14)
        served = len(engine.history)
        evaluate(services, limit=12, validation=14, ablations=[name])
    whole, asked = (
        [each.prompt.messages[-1].content for each in some if each.expert is Expert.PREDICTOR]
        for some in (engine.history[:served], engine.history[served:])
    )
    assert len(asked) > 10
    form = (
        rf"The user gives {averages} on average of \d+\.\nThe user so far: {rated}(.*\n)*"
        rf"It gets {averages} on average of \d+\.\nOthers of it: {rated}.*\nReason: {reason}"
    )
    fitting = [text for text in asked if re.search(form, text)]
    assert len(fitting) > len(asked) / 2, asked[0]
    summarized = r"so far: .*[+-] "
    assert any(re.search(summarized, text) for text in whole)
    assert not any(re.search(summarized, text) for text in asked)


@pytest.mark.parametrize(("balance", "opening"), [(1.0, "This should suit"), (-1.0, "This is unlikely to suit")])
def test_without_the_averages_a_reason_opens_as_its_points_have_it(balance: float, opening: str, settings: Settings):
    """The whole's reason opens as the averages have it too."""
    reason = "This could go either way for the user: one reviewer writes “warm”."
    adapter = Adapter(version=f"predictor-opening-{balance:g}", folder=settings.store)
    engine = ScriptedEngine(adapters={Expert.PREDICTOR: adapter})
    with Services.open(settings, engine=engine) as services:
        parts = split(services.store)
        before, after = (
            [
                each._replace(reason=reason, known=each.known.model_copy(update={"balance": balance}))
                for each in (explained(services, pair) for pair in part)
            ]
            for part in (parts.validation[:8], parts.test[:2])
        )
        served = len(engine.history)
        ablate(
            services,
            Ablation.NO_AVERAGES,
            plain=[],
            before=before,
            after=after,
            whole=[3.0, 3.0],
            histogram=[1] * 5,
            seed=0,
            told=lambda *_: None,
        )
    asked = [each.prompt.messages[-1].content for each in engine.history[served:]]
    assert asked
    assert all(f"\nReason: {opening} the user: one reviewer writes “warm”." in text for text in asked)


def test_a_later_review_changes_nothing_about_an_earlier_pair(settings: Settings, tmp_path: Path):
    """The readings of the validation pairs, and so the calibrator, know nothing of the test."""
    calibrators = []
    for rating in (1.0, 5.0):
        other = settings.model_copy(update={"store": tmp_path / f"{rating}"})
        with Services.open(other, engine=ScriptedEngine()) as services:
            newest = [review.review_id for review in reviews()][-16:]
            changed = (
                each.model_copy(update={"rating": rating}) if each.review_id in newest else each for each in reviews()
            )
            services.store.add_reviews(changed)
            calibrators.append(evaluate(services, limit=5, validation=14, with_reason=False).calibrator)
    assert calibrators[0] == calibrators[1]


def test_of_a_model_that_was_not_heard_nothing_is_said(settings: Settings):
    """As `--no-reason` has it; and a Predictor that does not know the scale."""
    with Services.open(settings, engine=ScriptedEngine()) as services:
        silent = evaluate(services, limit=12, validation=14, with_reason=False)
    adapter = Adapter(version="predictor-01234567", folder=settings.store)
    with Services.open(settings, engine=ScriptedEngine(adapters={Expert.PREDICTOR: adapter})) as services:
        other = replace(services, predictor=Predictor(services.engine, lambda _: (RatingScale.parse("0:20"),)))
        unfit = evaluate(other, limit=12, validation=14)
    for found in (silent, unfit):
        assert found.heard == 0
        assert not {"expectation", "mode"} & set(found.readouts)
        assert "raw" not in found.distributions
        assert not any(name.startswith("expectation-") for name in found.differences)
        assert "not heard on any pair" in printed(found)
    assert unfit.reasons > 0


def printed(found: RatingsEvaluation) -> str:
    console = Console(width=120, file=StringIO())
    console.print(ratings_card(found))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_warm_and_cold_are_by_what_a_user_had_given_before_the_test():
    assert sliced([0, 1, 3, 4, 0]) == {"warm": [3], "cold": [1, 2], "unseen": [0, 4]}


def test_that_the_model_adds_nothing_certain_is_told(whole: RatingsEvaluation):
    def told(used: tuple[str, ...], *tried: tuple[str, ...]) -> bool:
        nested = [
            Nested(groups=groups, penalty=1, rmse=1, pairs=9, gain=-0.01, error=0.02) for groups in (("bias",), *tried)
        ]
        found = whole.calibrator.model_copy(update={"groups": used, "tried": tuple(nested)})
        shown = " ".join(printed(whole.model_copy(update={"calibrator": found})).split())
        return "the language model adds nothing certain" in shown

    assert told((AVERAGES,), (AVERAGES,), (AVERAGES, MODEL))
    assert not told((AVERAGES, MODEL), (AVERAGES,), (AVERAGES, MODEL))
    assert not told((AVERAGES,), (AVERAGES,)), "it was not asked"


def test_what_the_predictor_may_have_learned_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    adapter = Adapter(version="predictor-01234567", folder=settings.store)
    told = []
    asked: dict[str, Any] = {"limit": 5, "validation": 14, "with_reason": False, "ablations": [Ablation.NO_REASON]}
    with Services.open(settings, engine=ScriptedEngine(adapters={Expert.PREDICTOR: adapter})) as services:
        first = split(services.store).validation[0].timestamp
        for until in (None, first - 1, first):
            monkeypatch.setattr(services.registry, "learned_until", {adapter.version: until}.get)
            told.append(evaluate(services, **asked))
        unasked = evaluate(services, limit=5, validation=14, with_reason=False)
        monkeypatch.setattr(Predictor, "taught", False)
        untaught = evaluate(services, **asked)
    assert [len(each.notes) for each in (*told, unasked, untaught)] == [1, 0, 1, 0, 0]
    late = f"learned from reviews up to {day(first)}"
    for silent_or_late, said in ((told[0], "does not say up to when"), (told[2], late)):
        shown = " ".join(printed(silent_or_late).split())
        assert said in shown
        assert "may have learned some of the pairs" in shown


def test_what_the_reasoner_may_have_learned_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    adapter = Adapter(version="reasoner-01234567", folder=settings.store)
    asked: dict[str, Any] = {"limit": 5, "validation": 14, "with_reason": False, "ablations": [Ablation.NO_REASON]}
    with Services.open(settings, engine=ScriptedEngine(adapters={Expert.REASONER: adapter})) as services:
        first = split(services.store).validation[0].timestamp
        told = []
        for until in (None, first - 1, first):
            monkeypatch.setattr(services.registry, "learned_until", {adapter.version: until}.get)
            told.append(evaluate(services, **asked).notes)
    assert [len(each) for each in told] == [0, 0, 1], "one that says nothing learned from no pair that measures"
    assert told[2][0].startswith(f"reasoner-01234567 learned from reviews up to {day(first)}, and")


def test_explanations_use_what_was_kept(settings: Settings):
    with Services.open(settings, engine=ScriptedEngine()) as services:
        before = explain(services, "u1", "i1").rating
        found = evaluate(services, limit=5, validation=14, with_reason=False, keep=True)
        after = explain(services, "u1", "i1").rating
        assert found.kept
        assert found.calibrator == services.calibrator()
        assert after.expectation != before.expectation
        assert after.bias_baseline == before.bias_baseline
        assert after.uncalibrated_expectation == before.uncalibrated_expectation

    for expert in (Expert.SUMMARIZER, Expert.REASONER, Expert.PREDICTOR):
        adapter = Adapter(version=f"{expert}-01234567", folder=settings.store)
        with Services.open(settings, engine=ScriptedEngine(adapters={expert: adapter})) as services:
            assert services.calibrator() is None, "it belongs to the versions that it was fitted for"
    fewer = settings.model_copy(update={"history": 3})
    with Services.open(fewer, engine=ScriptedEngine()) as services:
        assert services.calibrator() is None, "and to what they were given to read"


def test_too_few_reviews_are_told(tmp_path: Path):
    with Services.open(Settings(store=tmp_path / "store", engine="scripted"), engine=ScriptedEngine()) as services:
        with pytest.raises(UsageError, match="0 reviews, of too few different times"):
            evaluate(services, limit=5, validation=5)
        services.store.add_reviews(list(reviews())[:50])
        with pytest.raises(UsageError, match=r"4 validation pairs, of 4 reviews .* needs 10; ingest more reviews"):
            evaluate(services, limit=5, validation=50)
        services.store.add_reviews(list(reviews())[50:])
        with pytest.raises(UsageError, match=r"5 validation pairs, of 16 reviews .* give a larger --validation"):
            evaluate(services, limit=5, validation=5)


def test_the_command(settings: Settings, whole: RatingsEvaluation, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHYLIKE_STORE", str(settings.store))
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    command = ["evaluate", "ratings", "--limit", "12", "--validation", "14", "--ablation", "one-step"]
    told = CliRunner().invoke(whylike.cli.app, command)
    assert told.exit_code == 0, told.output
    for words in (
        "matrix factorisation (baseline)",
        "calibrated less bias",
        "RMSE by reviews before the test",
        "one step",
        "The interval claims",
    ):
        assert words in told.stdout
    asked: Any = CliRunner().invoke(whylike.cli.app, [*command, "--json"])
    document = json.loads(asked.stdout)
    assert document["readouts"]["calibrated"] == whole.readouts["calibrated"].model_dump()
    assert set(document["ablations"]) == {"one-step"}


def test_the_readmes_commands_run(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """But for the one that trains, which adapters/training/test_finetuning.py runs."""
    shutil.copytree(settings.store, tmp_path / "store")
    monkeypatch.setenv("WHYLIKE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    monkeypatch.chdir(tmp_path)
    rows = [pair(f"u{number}", number, (2.5 + number % 7, 6.0), number % 9 + 1) for number in range(20)]
    Path("imdb.json").write_text(json.dumps(rows))
    lines = [line for line in commands("evaluate") if line[1] == "ratings" and "--finetune" not in line]
    assert len(lines) == 6
    for line in lines:
        smaller = [] if "--exp3rt" in line else ["--limit", "12", "--validation", "14"]
        done = CliRunner().invoke(whylike.cli.app, [*line, *smaller])
        assert done.exit_code == 0, (line, done.output)
        assert "RMSE" in done.stdout
    assert Path("ratings/ratings.json").exists()


def test_the_report_has_the_figures_and_the_plots(settings: Settings, whole: RatingsEvaluation, tmp_path: Path):
    written = write_report(tmp_path / "new" / "report", whole, ratings_card(whole))
    told = written.read_text(encoding="utf-8")
    for plot in re.findall(r"!\[.*?\]\((.*?)\)", told):
        assert (written.parent / plot).read_bytes().startswith(b"\x89PNG")
    assert told.count(".png") == 3
    assert f"| calibrated | {whole.readouts['calibrated'].rmse:.3f} |" in told
    assert "The interval claims 80%" in told
    assert json.loads((written.parent / "ratings.json").read_text())["pairs"] == 12
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(written, whole, ratings_card(whole))


def test_the_error_is_told_by_what_was_known_of_the_user(whole: RatingsEvaluation):
    assert sum(each.pairs for each in whole.by_history) == 12
    assert [each.label for each in whole.by_history] == ["4 to 7", "8 to 15"], "of 20 people with 8 reviews or so"


@pytest.mark.realdata
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real reviews are not here (../shared/data)")
def test_on_real_reviews_the_calibrated_averages_beat_the_bias(tmp_path: Path):
    made = Settings(store=tmp_path / "store", engine="scripted")
    with Services.open(made) as services:
        ingest(services.store, SHARED / "digital_music" / "reviews.jsonl.gz")
        found = evaluate(services, limit=700, validation=700, with_reason=False)
    assert found.pairs == 692
    assert found.readouts["calibrated"].rmse < found.baselines["bias"].rmse
    assert found.readouts["calibrated"].rmse < found.baselines["matrix_factorisation"].rmse
    assert abs(found.interval.covered - found.interval.claimed) <= 0.03
