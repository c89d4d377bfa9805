"""The command line: what it prints where, with which exit status. The graph is a fake unless a test says otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pretended import EXPLANATION, HOSTILE, REVIEW, Graph

import whylike.cli
from whylike.explanation import Explanation
from whylike.memory.importers import AUTO, FORMATS
from whylike.memory.store import Store
from whylike.records import Profile, RatingScale, Review, Side
from whylike.settings import load

ROOT = Path(whylike.cli.__file__).parent


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group, with how it is called."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


ALL = list(commands(typer.main.get_command(whylike.cli.app)))


# --- help


@pytest.mark.parametrize("path", [path for path, _ in ALL], ids=" ".join)
def test_every_command_has_help_with_an_example(run: Any, path: tuple[str, ...]) -> None:
    for option in ("--help", "-h"):
        result = run(*path, option)
        assert result.exit_code == 0
        assert f"Example:\n    whylike {' '.join(path)}".rstrip() in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 80
        arguments = result.stdout.partition("\nArguments:\n")[2].partition("\n\n")[0]
        assert "<" not in arguments, "an argument's type says nothing to people"


@pytest.mark.parametrize("path", [path for path, command in ALL if not hasattr(command, "commands")], ids=" ".join)
def test_every_command_takes_a_store_and_verbose(run: Any, path: tuple[str, ...]) -> None:
    shown = run(*path, "--help").stdout
    assert "--store DIR" in shown
    assert "-v, --verbose" in shown


def test_the_formats_offered_are_those_there_are() -> None:
    hints = whylike.cli.ingest.__annotations__["format_"]
    offered = get_args(get_args(eval(hints, vars(whylike.cli)))[0])
    assert offered == (AUTO, *FORMATS)


def test_help_imports_nothing_heavy() -> None:
    heavy = "torch transformers chromadb langgraph sqlalchemy numpy pydantic rich sentence_transformers"
    code = (
        "import sys; sys.argv = ['whylike', '--help']\n"
        "from whylike.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in '{heavy}'.split() if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "explain" in done.stdout


def test_the_version(run: Any) -> None:
    assert run("--version").stdout == f"whylike {whylike.__version__}\n"


@pytest.mark.parametrize("command", [[sys.executable, str(ROOT / "cli.py")], [sys.executable, "-m", "whylike.cli"]])
def test_it_can_be_started_in_several_ways(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("whylike ")


def test_the_command_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert declared == {"whylike": "whylike.cli:main"}


# --- explain


@pytest.mark.parametrize("user", ["", "  ", "a\tb", "x" * 201])
def test_an_id_is_checked_everywhere(run: Any, graph: Graph, user: str) -> None:
    for command in (("explain", "--item", "i1"), ("profile", "show"), (*ADD[:2], *ADD[4:])):
        result = run(*command, "--user", user)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("whylike: --user ")
    assert graph.calls == []
    assert run("explain", "--user", "u", "--item", " ").stderr == "whylike: --item is empty; every row needs one\n"


def test_an_id_is_trimmed_everywhere(run: Any, graph: Graph) -> None:
    assert "gave 4 to i1" in run(*(" ann\u00a0b " if arg == "ann" else arg for arg in ADD)).stdout
    run("explain", "--user", " ann\u00a0b", "--item", " i1 ")
    assert [(call["user_id"], call["item_id"]) for call in graph.calls] == [("ann b", "i1")]
    assert "'ann b'" in run("profile", "show", "--user", "ann bb ").stderr


def test_explain_json_is_the_document_and_nothing_else(run: Any, graph: Graph) -> None:
    result = run("explain", "--user", "ann", "--item", "i1", "--json", "-vv")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == EXPLANATION
    assert result.stdout.isascii()


def test_explain_passes_on_what_was_asked(run: Any, graph: Graph, workplace: Path) -> None:
    with Store.open(load({"store": "other"})):
        pass
    run("explain", "--user", "ann", "--item", "i1")
    run(
        "explain", "--user", "ann", "--item", "i1", "--no-reason", "--as-of", "2020-01-01T00:00:00Z", "--store", "other"
    )
    first, second = graph.calls
    assert (first["as_of"], first["with_reason"], first["store"]) == (None, True, workplace / "store")
    assert (second["as_of"], second["with_reason"], second["store"]) == (1_577_836_800, False, Path("other"))


def test_a_teacher_is_asked_only_by_whoever_has_one(run: Any, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("explain", "--user", "ann", "--item", "i1")
    refused = run(*asked, "--teacher")
    assert (refused.exit_code, graph.calls) == (2, [])
    assert "no teacher is set; set teacher_base_url" in refused.stderr
    monkeypatch.setenv("WHYLIKE_TEACHER_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("WHYLIKE_TEACHER_MODEL", "big")
    for flags in ((), ("--teacher",), ("--no-teacher",)):
        assert run(*asked, *flags).exit_code == 0
    assert [call["teacher"] for call in graph.calls] == [None, True, False], "without a flag the setting decides"


def test_the_item_profile_is_a_setting_like_the_others(
    run: Any, graph: Graph, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("explain", "--user", "ann", "--item", "i1")
    run(*asked)
    (workplace / "whylike.toml").write_text('item_profile = "neighbours"\n')
    run(*asked)
    monkeypatch.setenv("WHYLIKE_ITEM_PROFILE", "helpful")
    run(*asked)
    run(*asked, "--item-profile", "all")
    assert [call["item_profile"] for call in graph.calls] == ["all", "neighbours", "helpful", "all"]
    refused = run(*asked, "--item-profile", "best")
    assert refused.exit_code == 2
    assert "'best' from --item-profile is not allowed: input should be 'all', 'helpful' or" in refused.stderr


def test_the_card_is_on_standard_output_and_harmless(run: Any, graph: Graph) -> None:
    result = run("explain", "--user", "ann", "--item", "i1")
    assert result.exit_code == 0
    for said in (
        "Expected rating 4.2",
        "The user likes slow films. [1] Nobody knows why. [no evidence]",
        "[red]A title",
    ):
        assert said in result.stdout
    assert not set(result.stdout) & {"\x1b", "\x9b", "\x07", "\u202e"}


# --- ingest, review add, profile show


def test_ingest_reports_and_a_second_run_changes_nothing(run: Any, reviews: Path) -> None:
    first, second = run("ingest", str(reviews)), run("ingest", str(reviews))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "12 new, 0 there already" in first.stdout
    assert "0 new, 12 there already" in second.stdout
    assert "12 reviews by 3 users of 4 items, on the scale 1:5" in second.stdout


def test_ingest_tells_where_the_rejects_are(run: Any, reviews: Path, workplace: Path) -> None:
    with reviews.open("a") as file:
        file.write("nonsense\n")
    result = run("ingest", str(reviews))
    assert result.exit_code == 0
    (rejects,) = (workplace / "store" / "rejects").iterdir()
    assert f"1 rejected, with the reasons in {rejects}" in result.stdout
    strict = run("ingest", str(reviews), "--strict")
    assert strict.exit_code == 2
    assert "line 13" in strict.stderr


def test_a_file_of_which_nothing_can_be_taken_is_bad_input(run: Any, workplace: Path) -> None:
    path = workplace / "bad.csv"
    path.write_text("user_id,item_id,rating,text,timestamp\na,b,9,Good.,1\na,b,8,Good.,1\n")
    result = run("ingest", str(path))
    assert result.exit_code == 2
    assert "none of its 2 rows could be taken" in result.stderr
    assert "2 of 2 rows have ratings that are not on the scale 1:5" in result.stderr
    assert "again, with --scale MIN:MAX" in result.stderr
    assert run("ingest", str(path), "--scale", "1:10").exit_code == 0


def test_ratings_on_what_may_be_another_scale_are_told_of(run: Any, reviews: Path) -> None:
    with reviews.open("a") as file:
        file.write(f"{json.dumps(REVIEW | {'rating': 9})}\n")
    assert run("ingest", str(reviews)).stderr == ""  # one of thirteen
    with reviews.open("a") as file:
        file.write(f"{json.dumps(REVIEW | {'rating': 7})}\n")
    result = run("ingest", str(reviews))
    assert result.exit_code == 0
    assert "2 of 14 rows have ratings that are not on the scale 1:5" in result.stderr
    assert "into another store, given with --store and --scale MIN:MAX" in result.stderr


def test_ingest_takes_a_scale(run: Any, workplace: Path) -> None:
    path = workplace / "half.csv"
    path.write_text("user_id,item_id,rating,text,timestamp\na,b,0.5,Good.,1\n")
    assert "on the scale 0.5:5:0.5" in run("ingest", str(path), "--scale", "0.5:5:0.5").stdout


ADD = ("review", "add", "--user", "ann", "--item", "i1", "--rating", "4", "--text", "Good.", "--at", "2020-01-01")


def test_a_review_is_added_once(run: Any) -> None:
    first, second = run(*ADD, "--title", "Fine", "--helpful", "3"), run(*ADD)
    assert first.exit_code == second.exit_code == 0
    assert "added: ann gave 4 to i1, an item new to the store" in first.stdout
    assert "was there already" in second.stdout
    with Store.open(load()) as store:
        (review,) = store.user_reviews("ann", 5)
    assert (review.rating, review.title, review.text, review.timestamp, review.helpful) == (
        4, "Fine", "Good.", 1_577_836_800, 3,
    )  # fmt: skip


def test_the_document_of_a_review_that_is_added(run: Any) -> None:
    first, second = (json.loads(run(*ADD, "--json").stdout) for _ in range(2))
    assert first["review_id"] == second["review_id"]
    told = {"user_id": "ann", "item_id": "i1", "rating": 4, "review_id": first["review_id"]}
    assert first == told | {"added": True, "new_item": True}
    assert second == told | {"added": False, "new_item": False}


def test_a_new_item_that_is_like_a_known_one_is_warned_of(run: Any) -> None:
    more = ("review", "add", "--user", "ann", "--rating", "4", "--text", "Good.", "--item")
    assert run(*more, "whiplash-2014").stderr == ""
    result = run(*more, "whiplash")
    assert result.exit_code == 0
    assert "'whiplash' is an item new to the store, which has one like it: 'whiplash-2014'" in result.stderr
    assert run(*more, "whiplash").stderr == ""


def test_fewer_than_no_votes_are_refused(run: Any) -> None:
    assert run(*ADD, "--helpful", "-3").exit_code == 2


def test_the_same_said_again_is_no_second_review(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = ADD[:-2]
    first = run(*now)
    monkeypatch.setattr(whylike.cli.time, "time", lambda: 1_700_000_000)  # another second
    again = run(*now)
    assert again.exit_code == 0
    assert again.stdout == f"{first.stdout.split(' added')[0]} was there already.\n"
    other = run(*now, "--title", "Again").stdout
    assert "added: ann gave 4 to i1; this user's review of it number 2" in other
    assert "added" in run(*now, "--at", "2019-01-01").stdout  # another time is another review
    with Store.open(load()) as store:
        assert len(store.pair_reviews("ann", "i1")) == 3


def test_a_review_cannot_come_from_the_future(run: Any, workplace: Path) -> None:
    result = run(*ADD[:-1], "2099-01-01")
    assert result.exit_code == 2
    assert result.stderr == (
        "whylike: --at is '2099-01-01', which is in the future; write when the review was written\n"
    )
    path = workplace / "future.csv"
    path.write_text("user_id,item_id,rating,text,timestamp\na,b,4,Good.,2099-01-01\na,b,4,Good.,2019-01-01\n")
    assert "1 rejected" in run("ingest", str(path)).stdout


@pytest.mark.parametrize(("as_of", "said"), [("2021", "2021-01-01"), ("20211301", "2014-07-01")])
def test_a_time_that_is_no_day_shows_how_to_write_it(run: Any, graph: Graph, as_of: str, said: str) -> None:
    result = run("explain", "--user", "ann", "--item", "i1", "--as-of", as_of)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"whylike: --as-of is '{as_of}'")
    assert said in result.stderr
    run("explain", "--user", "ann", "--item", "i1", "--as-of", "20210601")
    assert [call["as_of"] for call in graph.calls] == [1_622_505_600]


def test_a_first_review_settles_the_scale(run: Any, workplace: Path) -> None:
    run(*ADD)
    path = workplace / "ten.csv"
    path.write_text("user_id,item_id,rating,text,timestamp\na,b,9,Good.,1\n")
    result = run("ingest", str(path), "--scale", "1:10")
    assert result.exit_code == 2
    assert "1:5" in result.stderr


def test_a_review_is_rated_on_the_stores_scale(run: Any, workplace: Path) -> None:
    with Store.open(load()) as store:
        store.add_reviews([Review(**REVIEW)], scale=RatingScale(maximum=10))
    result = run(*("9" if arg == "4" else arg for arg in ADD))
    assert result.exit_code == 0


def test_profile_show(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    profile = Profile(
        side=Side.USER, subject_id="ann", likes=("slow", HOSTILE), adapter_version="base:tiny", source="x"
    )
    with Store.open(load()) as store:
        store.add_profiles([profile])
    shown = run("profile", "show", "--user", "ann").stdout
    assert "- slow\n" in shown
    assert "- [red]A title\n" in shown
    assert "dislikes: nothing stands out" in shown
    assert "Stored about this user: profiles 1; `whylike profile forget` removes it all.\n" in shown
    document = json.loads(run("profile", "show", "--user", "ann", "--json").stdout)
    stored = document.pop("stored")
    assert document.pop("said") == []
    assert {name: count for name, count in stored.items() if count} == {"profiles": 1}
    assert Profile.model_validate(document) == profile
    near = run("profile", "show", "--user", "anne")
    assert near.exit_code == 2
    assert "'ann'" in near.stderr


@pytest.mark.parametrize("at", ["2020-01-02", "2019-12-31"], ids=["newer", "older"])
@pytest.mark.parametrize(("side", "subject"), [(Side.USER, "ann"), (Side.ITEM, "i1")])
def test_profile_show_has_what_has_come_in_since(
    run: Any, monkeypatch: pytest.MonkeyPatch, side: Side, subject: str, at: str
) -> None:
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    run(*ADD[:-1], "2020-01-01")
    show = ("profile", "show", f"--{side}", subject, "--json")
    first = json.loads(run(*show).stdout)
    assert json.loads(run(*show).stdout) == first
    bob = ("bob" if arg == "ann" and side is Side.ITEM else arg for arg in ADD[:-1])
    run(*("2" if arg == "4" else arg for arg in bob), at)
    now = json.loads(run(*show).stdout)
    assert (first["average"], now["average"]) == (4, 3)
    assert json.loads(run(*show).stdout) == now


def test_profile_show_makes_the_profile_that_is_not_there_yet(
    run: Any, reviews: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    items = workplace / "items.jsonl"
    items.write_text('{"item_id": "unread", "title": "Unread"}\n')
    run("ingest", str(reviews), "--items", str(items))
    for side, subject in ((Side.USER, "u1"), (Side.ITEM, "i2")):
        result = run("profile", "show", f"--{side}", subject, "--json")
        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout)
        assert (document.pop("stored") is None) is (side is Side.ITEM)
        assert document.pop("said") == []
        profile = Profile.model_validate(document)
        assert (profile.side, profile.subject_id) == (side, subject)
        assert profile.as_of is not None
        with Store.open(load()) as store:
            assert store.latest_profile(side, subject) == profile
    assert "(user)\n" in run("profile", "show", "--user", "u1").stdout
    nothing = run("profile", "show", "--item", "unread")
    assert nothing.exit_code == 2
    assert "no reviews of 'unread' to make a profile from" in nothing.stderr


# --- demo


def test_the_demo_explains_its_three_pairs_in_a_store_of_its_own(
    run: Any, graph: Graph, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHYLIKE_DATABASE_URL", "postgresql+psycopg://nobody@localhost/shared")
    result = run("demo")
    assert result.exit_code == 0
    assert "invented" in result.stdout
    pairs = json.loads((ROOT / "memory" / "demo_corpus" / "pairs.json").read_text())
    assert [(call["user_id"], call["item_id"]) for call in graph.calls] == [
        (pair["user_id"], pair["item_id"]) for pair in pairs
    ]
    assert {call["store"] for call in graph.calls} == {workplace / "store" / "demo"}
    said = " ".join(result.stdout.split())
    assert all(" ".join(pair["why"].split()) in said for pair in pairs)
    monkeypatch.delenv("WHYLIKE_DATABASE_URL")
    with Store.open(load({"store": workplace / "store" / "demo"})) as store:
        counts = store.counts()
        assert (counts.items, counts.reviews) == (20, 382)
        assert f"all {counts.reviews} of their reviews" in said
        assert "--user priya_r --item the-grand-budapest-hotel-2014" in said
        assert store.has_user("priya_r")
        assert store.item("wall-e-2008")


@pytest.mark.model
def test_all_of_it_for_real(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHYLIKE_CACHE")  # the converted base model is kept there
    corpus = ROOT / "memory" / "demo_corpus"
    assert run("ingest", str(corpus / "reviews.jsonl"), "--items", str(corpus / "items.jsonl")).exit_code == 0
    answer = run("explain", "--user", "newcomer", "--item", "mamma-mia-2008", "--json")
    explanation = Explanation.model_validate_json(answer.stdout)
    assert explanation.reason is not None
    assert explanation.evidence
    assert run("profile", "show", "--item", "mamma-mia-2008").exit_code == 0
    assert "8 vectors" in run("index", "rebuild").stdout
    assert run("doctor").exit_code == 0
