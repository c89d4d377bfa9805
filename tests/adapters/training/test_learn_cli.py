"""`whylike learn`, and `whylike learn history`, on the command line."""

from __future__ import annotations

import json

import pytest
from learner import LEAST, judged, live
from readme import commands
from typer.testing import CliRunner, Result

from whylike.cli import app
from whylike.evaluation.courses.ratings import Ratings
from whylike.graph import learning
from whylike.settings import Settings


def test_the_commands(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    for name in ("store", "model", "engine", "device", "history", "learn_new", "learn_frozen", "learn_of_user"):
        monkeypatch.setenv(f"WHYLIKE_{name.upper()}", str(getattr(settings, name)))

    def run(*given: str) -> Result:
        return CliRunner().invoke(app, ["learn", *given])

    assert run("history").stdout == "There has been no run yet; `whylike learn` makes one.\n"
    dry = run("predictor", "--dry-run", "--min", "20")
    assert dry.exit_code == 0, dry.stderr
    assert dry.stdout.startswith("predictor: would go on from the base model with 40 new reviews and 0 old ones.")
    assert run("--min", "40", "predictor", "--dry-run").exit_code == 0
    refused = run("reward")
    assert refused.exit_code == 2
    assert "reward does not go on learning; give one of summarizer, reasoner, predictor" in refused.stderr
    refused = run("summarizer", "--teacher", "openai")
    assert refused.exit_code == 2
    assert "teacher_base_url" in refused.stderr
    assert "reasoner: nothing to do: no adapter is live for the reward expert" in run("reasoner").stdout
    done = run("predictor", "--min", "20", "--json")
    assert done.exit_code == 0, done.stderr
    [told] = json.loads(done.stdout)["runs"]
    assert told["outcome"] == "promoted"
    assert json.loads(run("history", "--json").stdout)["runs"] == [told]
    shown = " ".join(run("history").stdout.split())
    assert f"{told['version']} was promoted" in shown
    assert "`whylike adapters rollback predictor` goes back" in shown
    assert run("--watch", "--dry-run").exit_code == 2


@pytest.mark.parametrize("name", ["history", "now"])
def test_a_command_after_its_options_is_told_where_it_stands(name: str) -> None:
    refused = CliRunner().invoke(app, ["learn", "--json", name])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"whylike: {name} is a command and comes first, before its options: `whylike learn {name} --json`\n"
    )


def test_the_readmes_commands(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ratings, "read", judged(0.2))
    for name in ("store", "model", "engine", "device", "history", "learn_new", "learn_frozen", "learn_of_user"):
        monkeypatch.setenv(f"WHYLIKE_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setattr(learning, "LEAST", LEAST)

    def no_more(seconds: float) -> None:
        raise KeyboardInterrupt

    watch = learning.watch
    monkeypatch.setattr(learning, "watch", lambda *given, **how: watch(*given, **how, pause=no_more))
    lines = [line for line in commands() if line[0] == "learn"]
    assert ["learn", "predictor"] in lines
    assert ["learn", "history"] in lines
    for line in lines:
        done = CliRunner().invoke(app, line)
        wanted = 130 if "--watch" in line else 0  # ended by Ctrl-C
        assert done.exit_code == wanted, (line, done.stderr)
    assert live(settings) is not None
    back = CliRunner().invoke(app, ["adapters", "rollback", "predictor"])
    assert back.exit_code == 0, back.stderr
    assert live(settings) is None
