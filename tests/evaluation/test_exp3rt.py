"""`whylike evaluate ratings --exp3rt`: invented pairs in the released shape, and the sample of the real ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from lettered import Letters
from released import pair
from rich.console import Console
from typer.testing import CliRunner

import whylike.cli
from whylike.adapters.engines.base import Adapter
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents.calibration import DIMENSIONS, GROUPS, PROFILES, TEXTS
from whylike.agents.predictor import Predictor
from whylike.errors import UsageError
from whylike.evaluation.exp3rt import PUBLISHED, evaluate_exp3rt, rows_of
from whylike.evaluation.meeting import meetings
from whylike.graph.services import Services
from whylike.memory.ingest import ingest
from whylike.ratings_card import exp3rt_card
from whylike.records import Expert, Profile, RatingScale, Side
from whylike.settings import Settings

SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "exp3rt_format_sample.json"


WORDS = ("acting", "blood", "colour", "dances", "endings", "folklore")
"""Aspects, of which no two begin with one letter."""


def rows(count: int, users: int = 20, meeting: float | None = None) -> list[dict[str, Any]]:
    """Scores that follow both averages; where it is given, with aspects that are drawn, and as far as they meet."""
    chance = random.Random(2)
    tastes = [chance.sample(WORDS, 4) for _ in range(users)]
    made = []
    for number in range(count):
        if meeting is not None:
            made.append(_meeting(number, tastes[number % users], meeting, chance))
            continue
        user, item = chance.uniform(2, 9), chance.uniform(2, 9)
        score = min(max(round(0.2 * user + 0.8 * item + chance.gauss(0, 1)), 1), 10)
        made.append(pair(f"u{number % users}", number % 7, (user, item), score))
    return made


def _meeting(number: int, taste: list[str], meeting: float, chance: random.Random) -> dict[str, Any]:
    """A pair whose score moves where what the user likes or dislikes is what others like."""
    user, item = chance.uniform(3, 8), chance.uniform(3, 8)
    praised = chance.choice(WORDS)
    met = (praised in taste[:2]) - (praised in taste[2:])
    score = min(max(round(0.2 * user + 0.8 * item + meeting * met + chance.gauss(0, 1)), 1), 10)
    return pair(
        f"{taste}", number, (user, item), score, likes=taste[:2], dislikes=taste[2:], praise=[praised], faults=[]
    )


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    with Services.open(Settings(store=tmp_path / "store", engine="scripted"), engine=ScriptedEngine()) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def written(*made: Any) -> Path:
        path = tmp_path / "pairs.json"
        path.write_text(json.dumps(made))
        return path

    return written


def test_thousands_of_pairs_are_foretold_as_well_as_least_squares_can(services: Services, file: Callable[..., Path]):
    found = evaluate_exp3rt(services, file(*rows(1500)), with_reason=False)
    assert (found.pairs, found.users, found.folds, sum(found.fold_pairs)) == (1500, 20, 5, 1500)
    assert found.published == PUBLISHED
    assert found.baselines["least_squares"].rmse < 1.1 < found.baselines["bias"].rmse
    assert found.readouts["calibrated"].rmse == pytest.approx(found.baselines["least_squares"].rmse, abs=0.03)
    assert abs(found.interval.covered - found.interval.claimed) < 0.04


@pytest.mark.parametrize("meeting", [1.5, 0.0], ids=["planted", "noise"])
def test_profiles_that_meet_are_heard_and_noise_is_not(services: Services, file: Callable[..., Path], meeting: float):
    found = evaluate_exp3rt(services, file(*rows(2000, users=60, meeting=meeting)), with_reason=False)
    used = ["profiles" in groups or "texts" in groups for groups in found.groups]
    floor = found.differences["calibrated-least_squares"]
    if meeting:
        assert all(used)
        assert floor.high < -0.1
    else:
        assert sum(used) <= 2
        assert -0.02 < floor.low < floor.high < 0.02


def test_each_feature_says_where_lists_meet():
    def profile(side: Side, likes: tuple[str, ...], dislikes: tuple[str, ...]) -> Profile:
        return Profile(side=side, subject_id="x", likes=likes, dislikes=dislikes, adapter_version="v")

    user = profile(Side.USER, ("alpha", "beta"), ("cut",))
    item = profile(Side.ITEM, ("armies",), ())
    (found,) = meetings([(user, item)], Letters())
    assert found["user_likes_item_likes_mean"] == found["user_likes_item_likes_best"] == 0.5
    assert found["user_likes_item_likes_most"] == 1
    assert found["user_dislikes_item_likes_most"] == 0
    assert not any(name.startswith("user_likes_item_dislikes") for name in found), "there are none"
    assert found["item_dislikes_count"] == 0
    assert set(found) <= {*GROUPS[PROFILES], *GROUPS[TEXTS]}
    many = [(user, profile(Side.ITEM, (letter,), ())) for letter in "abcdefgh"]
    assert set(meetings(many, Letters())[0]) - set(found) == {f"item_likes_{number}" for number in range(DIMENSIONS)}


def test_every_row_keeps_its_own_profiles(file: Callable[..., Path]):
    made, rejected = rows_of(file(*rows(30), {"user_id": "u", "item_id": "i", "score": "11"}))
    assert rejected == 1
    assert len({row.item.item_id for row in made}) == 30
    assert {row.user for row in made} == {f"u{number}" for number in range(20)}
    averages = [profile.average for row in made for profile in row.profiles]
    assert averages == [float(each[key][-3:]) for each in rows(30) for key in ("user_persona", "item_synopsis")]


def test_the_model_is_asked_about_each_pair_once(services: Services, file: Callable[..., Path]):
    path = file(*rows(20))
    first = evaluate_exp3rt(services, path, count=2)
    engine = services.engine
    assert isinstance(engine, ScriptedEngine)
    asked = len(engine.history)
    assert asked >= 20
    assert any("small" in note for note in first.notes)
    again = evaluate_exp3rt(services, path, count=2)
    assert len(engine.history) == asked
    assert again.readouts == first.readouts
    assert services.store.counts().items == 0, "the store itself takes nothing in"


def test_a_predictor_that_was_not_taught_such_ratings_is_not_asked(services: Services, file: Callable[..., Path]):
    """Of an adapter of the caller's store only that store's registry knows what it was taught."""
    engine = ScriptedEngine(adapters={Expert.PREDICTOR: Adapter(version="predictor-01234567", folder=Path("nowhere"))})
    path = file(*rows(20))
    for scale, heard in (("1:5", 0), ("1:10", 20)):
        predictor = Predictor(engine, lambda _, scale=scale: (RatingScale.parse(scale),))
        own = replace(services, engine=engine, predictor=predictor)
        assert evaluate_exp3rt(own, path, count=2).heard == heard


def test_rows_that_are_left_out_and_pairs_that_may_have_been_learned_are_told(
    services: Services, file: Callable[..., Path]
):
    engine = ScriptedEngine(adapters={Expert.PREDICTOR: Adapter(version="predictor-01234567", folder=Path("nowhere"))})
    predictor = Predictor(engine, lambda _: (RatingScale.parse("1:10"),))
    taught = replace(services, engine=engine, predictor=predictor)
    path = file(*rows(20), {"user_id": "u", "item_id": "i", "score": "11"})
    told = {}
    for name, asked in (("not there", taught), ("ingested", taught), ("untaught", services)):
        if name == "ingested":
            ingest(services.store, path)
        console = Console(width=200, file=StringIO())
        console.print(exp3rt_card(evaluate_exp3rt(asked, path, count=2)))
        told[name] = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert {name for name, card in told.items() if "may have learned from these pairs" in card} == {"ingested"}
    assert all("1 row could not be read" in card for card in told.values())


def test_what_cannot_be_split_is_told(services: Services, file: Callable[..., Path]):
    with pytest.raises(UsageError, match=r"30 pairs of 3 users, too few for 5 folds"):
        evaluate_exp3rt(services, file(*rows(30, users=3)), with_reason=False)


def test_the_command_refuses_what_is_about_the_store(run: Any, file: Callable[..., Path]):
    result = run("evaluate", "ratings", "--exp3rt", str(file()), "--keep")
    assert result.exit_code == 2
    assert "--keep" in result.stderr
    for flags in (["--folds", "3"], ["--exp3rt", str(file()), "--validation", "50"]):
        refused = run("evaluate", "ratings", *flags)
        assert refused.exit_code == 2
        assert "--exp3rt" in refused.stderr
    for flags in (["--finetune"], ["--exp3rt", str(file()), "--finetune", "--no-reason"], ["--epochs", "2"]):
        refused = run("evaluate", "ratings", *flags)
        assert refused.exit_code == 2
        assert "--finetune" in refused.stderr


@pytest.mark.realdata
@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample of the real pairs is not here (../shared/data)")
def test_the_released_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHYLIKE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    told = CliRunner().invoke(
        whylike.cli.app, ["evaluate", "ratings", "--exp3rt", str(SAMPLE), "--no-reason", "--json"]
    )
    document = json.loads(told.stdout)
    assert document["pairs"] >= 48
    assert document["rejected"] == 0
    assert set(document["baselines"]) >= {"bias", "least_squares"}
