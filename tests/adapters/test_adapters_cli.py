"""The commands of `whylike adapters`: what they print where, with which exit status."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from readme import commands
from rich.console import Console
from typer.testing import CliRunner

import whylike.adapters_cli
from whylike.adapters.registry.registry import Details, Entry, Listing
from whylike.adapters_cli import ExpertName, details_card, listing_card
from whylike.card import BASE
from whylike.cli import app
from whylike.doctor import examine
from whylike.records import AdapterCard, Expert, Promotion, RatingScale
from whylike.settings import load

HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]A\u202e"


@pytest.fixture(autouse=True)
def _here(workplace: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYLIKE_MODEL", str(tiny))
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", workplace / "none")


@pytest.fixture
def run() -> Callable[..., tuple[int, str, str]]:
    """Runs a command; tells status, standard output and standard error."""

    def run(*args: str | Path) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["adapters", *map(str, args)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def add(run: Any, copy: Callable[..., Path]) -> Callable[[str, int], str]:
    """Adds an adapter by the command; its version."""

    def added(expert: str, alpha: int) -> str:
        status, out, said = run("add", copy("it", lora_alpha=alpha), "--expert", expert)
        assert (status, said) == (0, "")
        version = out.partition(" ")[0]
        assert out == f"{version} is in the registry; `whylike adapters promote {version}` makes it live.\n"
        return version

    return added


def shown(card: Any, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width, markup=False).print(card)
    return file.getvalue()


def test_the_experts_are_those_there_are() -> None:
    assert list(get_args(ExpertName)) == [expert.value for expert in Expert]


@pytest.mark.usefixtures("empty_store")
def test_nothing_yet(run: Any) -> None:
    assert run("list") == (
        0,
        "There are no adapters yet.\nWith the base model alone: summarizer, reasoner, predictor, reward\n",
        "",
    )
    assert json.loads(run("list", "--json")[1]) == {"adapters": [], "live": dict.fromkeys(Expert, None)}


def test_from_adding_to_rolling_back(run: Any, add: Any) -> None:
    first, second = add("reasoner", 8), add("reasoner", 9)
    other = add("summarizer", 8)
    assert run("promote", first) == (0, f"The reasoner answers with {first} now; before: the base model alone.\n", "")
    assert run("promote", second)[1] == f"The reasoner answers with {second} now; before: {first}.\n"
    assert run("promote", second)[1] == f"The reasoner answers with {second} already; nothing has changed.\n"
    listing = Listing.model_validate_json(run("list", "--json")[1])
    listed = [(entry.card.version, entry.live) for entry in listing.adapters]
    assert listed[0] == (other, False)
    assert set(listed[1:]) == {(first, False), (second, True)}
    assert listing.live == {**dict.fromkeys(Expert, None), Expert.REASONER: second}
    status, out, said = run("list")
    assert (status, said) == (0, "")
    assert [line.split()[:2] for line in out.splitlines() if "live" in line][1:] == [[second, "live"]]
    assert "With the base model alone: summarizer, predictor, reward" in out
    assert run("rollback", "reasoner")[1] == f"The reasoner answers with {first} again; before: {second}.\n"
    assert run("rollback", "reasoner")[1] == f"The reasoner answers with the base model alone again; before: {first}.\n"
    status, out, said = run("rollback", "reasoner")
    assert (status, out) == (2, "")
    assert said.startswith("whylike: the reasoner answers with the base model alone, and there is nothing before that")


def test_who_promotes_is_noted(run: Any, add: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    version = add("reasoner", 8)
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    run("promote", version)
    run("rollback", "reasoner", "--by", "the night job")

    def nobody() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nobody)
    run("promote", version)
    promotions = json.loads(run("show", version, "--json")[1])["promotions"]
    names = [promotion["promoted_by"] for promotion in promotions]
    assert names[:2] == ["ann", "the night job"]
    assert names[2].startswith("user ")
    out = " ".join(run("show", version)[1].split())
    assert f"promoted by ann: {version} answers from then on" in out
    assert "rolled back by the night job: the base model alone answers from then on" in out


def test_showing_a_version(run: Any, add: Any) -> None:
    version = add("reasoner", 8)
    status, out, said = run("show", version)
    assert (status, said) == (0, "")
    assert out.splitlines()[0] == version
    assert "by `whylike adapters add`" in out
    details = Details.model_validate_json(run("show", version, "--json")[1])
    assert (details.card.version, details.live, details.promotions) == (version, False, [])


def test_the_home_needs_no_store_yet(run: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHYLIKE_STORE")
    monkeypatch.setenv("HOME", str(workplace / "home"))
    assert run("list")[::2] == (0, "")
    assert run("list", "--store", workplace / "home" / "stroe")[0] == 2


@pytest.mark.parametrize("command", [("show", "reasoner-0"), ("promote", "reasoner-0")])
@pytest.mark.usefixtures("empty_store")
def test_a_version_that_is_not_there(run: Any, command: tuple[str, str]) -> None:
    status, out, said = run(*command)
    assert (status, out) == (2, "")
    assert said.startswith("whylike: there is no adapter 'reasoner-0'; `whylike adapters list` shows those there are")


def test_what_is_refused_is_told_in_one_sentence(run: Any, copy: Any, workplace: Path) -> None:
    folder = copy("it", use_dora=True)
    status, out, said = run("add", folder, "--expert", "reasoner")
    assert (status, out) == (2, "")
    assert said.startswith(f"whylike: the adapter {folder} uses use_dora, which not every engine can serve; train it")
    assert said.count("\n") == 1
    assert run("add", folder, "--expert", "poet")[0] == 2
    assert run("add", workplace / "none", "--expert", "reasoner")[0] == 2
    assert run("list", "--json")[1].count('"card"') == 0


def test_a_folder_with_a_card_of_another_expert(run: Any, add: Any, workplace: Path) -> None:
    version = add("reasoner", 8)
    folder = workplace / "store" / "adapters" / version
    status, _, said = run("add", folder, "--expert", "summarizer")
    assert status == 2
    assert "is one of the reasoner by its card, not of the summarizer; give --expert reasoner" in said
    assert run("add", folder, "--expert", "reasoner")[1].startswith(version)


def test_an_adapter_that_was_changed_is_told_by_the_doctor_and_by_promote(run: Any, add: Any, workplace: Path) -> None:
    def check() -> Any:
        (found,) = (check for check in examine({}).checks if check.name == "adapters")
        return found

    version, other = add("reasoner", 8), add("summarizer", 8)
    assert check().found == "none is live: the base model answers for every expert"
    run("promote", version)
    run("promote", other)
    assert (check().status, check().found) == (
        "ok",
        f"live: {other}, {version}; the base model answers for predictor, reward",
    )
    (workplace / "store" / "adapters" / version / "adapter_config.json").write_text("{}")
    assert check().status == "problem"
    assert f"{version} has been changed since it was added; add it again" in check().found
    status, out, said = run("promote", version)
    assert (status, out) == (1, "")
    assert "has been changed since it was added" in said
    assert run("rollback", "reasoner")[0] == 0
    assert check().status == "ok"


CARD = AdapterCard(
    expert=Expert.REASONER,
    created_at=1_700_000_000,
    command=f"whylike train {HOSTILE}",
    base_hash="f" * 64,
    data_hash="d" * 64,
    parent=f"reasoner-{HOSTILE}",
    settings={"epochs": 3, HOSTILE: [HOSTILE]},
    metrics={"loss": 1 / 3, HOSTILE: 2.0},
    scales=(RatingScale.parse("1:5"), RatingScale.parse("0.5:5:0.5")),
    version=f"reasoner-{HOSTILE}",
    content_hash="c" * 64,
    base_model=HOSTILE,
    rank=16,
)
CARD = CARD.model_copy(
    update={
        "ancestors": (CARD,),
        "environment": {"precision": "float32", HOSTILE: HOSTILE},
        "made_with": {"learned_until": 1_700_000_000, HOSTILE: [HOSTILE]},
    }
)
LIVE = dict.fromkeys(Expert, "x")


def test_nothing_in_a_card_commands_the_terminal() -> None:
    moved = Promotion(
        expert=Expert.REASONER, version=HOSTILE, promoted_at=1_700_000_000, promoted_by=HOSTILE, kind="promote"
    )
    details = Details(card=CARD, live=True, shipped=True, promotions=[moved], saw_forgotten=0)
    listing = Listing(adapters=[Entry(card=CARD, live=True, shipped=False)], live=LIVE)
    for width in (30, 100):
        for card in (details_card(details), listing_card(listing)):
            text = shown(card, width)
            assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_cards_show_what_matters() -> None:
    out = shown(details_card(Details(card=CARD, live=True, shipped=True, promotions=[], saw_forgotten=0)))
    assert "(live, comes with whylike)" in out
    for fact in ("d" * 64, "c" * 64, "(hash ffffffff)", "14 November 2023", "epochs 3", "loss 0.3333"):
        assert fact in out
    for fact in ("1:5, 0.5:5:0.5", "precision float32", "learned_until 14 November 2023", "by `whylike train [red]A"):
        assert fact in out
    listed = shown(listing_card(Listing(adapters=[Entry(card=CARD, live=True, shipped=False)], live=LIVE)))
    assert "loss 0.3333, " in listed
    assert "base model alone" not in listed


def test_a_time_that_no_calendar_knows_is_shown_as_it_is() -> None:
    odd = CARD.model_copy(update={"created_at": 10**15, "made_with": {"learned_until": 10**30}})
    out = shown(details_card(Details(card=odd, live=True, shipped=True, promotions=[], saw_forgotten=0)))
    assert str(10**15) in out
    assert str(10**30) in out


def test_no_version_is_taken_for_the_base_model() -> None:
    """The card of an answer tells them apart by how a version begins."""
    assert not any(expert.value.startswith(BASE.removesuffix(":")) for expert in Expert)


def test_the_command_shows_nothing_of_the_libraries(copy: Callable[..., Path]) -> None:
    command = [sys.executable, "-c", "from whylike.cli import main; main()", "adapters", "add", str(copy("it"))]
    done = subprocess.run([*command, "--expert", "reasoner"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(line.startswith("whylike: looking at the adapter") for line in done.stderr.splitlines())
    assert load().store.is_dir()


def test_help_has_examples_and_loads_nothing_heavy() -> None:
    program = "import sys, whylike.adapters_cli; print(sorted({'torch', 'pydantic', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    for command in ("list", "show", "promote", "rollback", "add"):
        text = CliRunner().invoke(whylike.adapters_cli.adapters_app, [command, "--help"]).output
        assert f"Example:\n    whylike adapters {command}" in text
        assert "--store" in text


def test_the_readmes_commands_run(
    run: Any, copy: Callable[..., Path], workplace: Path, monkeypatch: pytest.MonkeyPatch
):
    """In the README's order, with the version that the first of them tells; those of the teaching are tested there."""
    (workplace / "trained").mkdir()
    copy("it").rename(workplace / "trained" / "reasoner")
    monkeypatch.chdir(workplace)
    version = ""
    for _, *arguments in commands("adapters"):
        if any(word.startswith(("summarizer-", "reward-")) for word in arguments):
            continue
        status, out, said = run(*(version if re.fullmatch(r"reasoner-\w{8}", word) else word for word in arguments))
        assert (status, said) == (0, ""), arguments
        version = version or out.partition(" ")[0]
    assert version.startswith("reasoner-")
