"""From a teacher's file to an adapter in the registry, by the commands, on a tiny model."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import endpoint
import pytest
import torch
from filelock import FileLock
from lettered import Letters
from peft import LoraConfig, get_peft_model
from readme import commands
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner, Result

from whylike.adapters.training import teach
from whylike.adapters.training.teach import FOLDER, examples_for, held_out
from whylike.cli import app
from whylike.errors import UsageError
from whylike.memory.store import Store
from whylike.records import Expert
from whylike.settings import Settings

ROWS = 60


@pytest.fixture
def run(workplace: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("WHYLIKE_MODEL", str(tiny))
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", workplace / "none")
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def files(workplace: Path) -> Path:
    """A folder with what a teacher wrote."""
    summaries = (
        {
            "item_id": f"i{number}",
            "rating": 1 + number % 5,
            "text": f"The {number}th one. Warm sound.",
            "summary": f"Positive Aspects: Warm sound, {number}\nNegative Aspects: None",
        }
        for number in range(ROWS)
    )
    reasons = (
        {
            "title": f"Title {number}",
            "user_history": "1. Other\nPositive Aspects: Warm tone",
            "item_history": "1. It\nPositive Aspects: Soft strings",
            "reason": "The user enjoys a warm tone. Others praise the soft strings.",
        }
        for number in range(ROWS)
    )
    for name, rows in (("summaries", summaries), ("reasons", reasons)):
        (workplace / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return workplace


def answer(asked: Any) -> endpoint.Answer:
    """What a teacher says of a review: of every tenth something, of the others nothing."""
    review = asked["messages"][-1]["content"]
    liked = "Warm sound" if review.endswith("0.") else "None"
    return endpoint.said(f"Positive Aspects: {liked}\nNegative Aspects: None\nUser Preference Elements: sound")


def test_the_readmes_commands_lead_from_reviews_and_a_teacher_to_an_adapter(
    run: Callable[..., Result], files: Path, reviewed: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(files)
    assert run("ingest", reviewed).exit_code == 0
    lines = commands()
    with endpoint.opened(answer) as server:
        monkeypatch.setenv("WHYLIKE_TEACHER_BASE_URL", server.url)
        monkeypatch.setenv("WHYLIKE_TEACHER_MODEL", "big")
        assert lines[lines.index(["annotate", "summaries", "--limit", "500"]) + 1][0] == "annotate"
        read = run("annotate", "summaries", "--limit", 500)
        assert read.exit_code == 0, read.stderr
        again = json.loads(run("annotate", "summaries", "--limit", 500, "--json").stdout)
    assert len(server.asked) == again["reviews"] == 120
    assert (again["read_now"], again["failed"]) == (0, 0)
    assert again["summarized"] + again["empty"] == 120
    assert again["summarized"] > 5
    assert read.stdout.startswith(f"{again['summarized']} of 120 chosen reviews have a summary by openai:big")
    with Store.open(Settings()) as store:
        assert len(examples_for(Expert.SUMMARIZER, store)) == again["summarized"]
    first = next(number for number, line in enumerate(lines) if line[:2] == ["annotate", "--import"])
    last = next(number for number, line in enumerate(lines) if line[-1].startswith("summarizer-"))
    versions = {}
    for line in lines[first : last + 1]:
        done = run(*(versions["summarizer"] if word.startswith("summarizer-") else word for word in line))
        assert done.exit_code == 0, (line, done.stderr)
        if line[0] == "train":
            versions[line[1]] = done.stdout.partition(" ")[0]
            assert done.stdout.startswith(f"{line[1]}-")
    again = run("annotate", "--import", "summaries.jsonl")
    assert again.stdout == f"0 new annotations, {ROWS} there already.\n"
    with Store.open(Settings()) as store:
        learned, held = held_out(examples_for(Expert.SUMMARIZER, store))
    assert held
    shown = json.loads(run("adapters", "show", versions["summarizer"], "--json").stdout)
    assert shown["live"]
    assert shown["card"]["command"] == "whylike train summarizer --seed 0"
    assert shown["card"]["settings"]["epochs"] == 2
    assert 0 < shown["card"]["metrics"]["examples"] < sum(each.times for each in learned), "some decide when to stop"
    reasoner = json.loads(run("adapters", "show", versions["reasoner"], "--json").stdout)["card"]
    assert reasoner["data"].startswith("Our reviews")
    assert reasoner["settings"]["dropout"] == 0.1
    assert not list((Settings().store / FOLDER).glob("*/*")), "what a run needed on its way is gone"
    monkeypatch.setattr("whylike.adapters.training.teach.train", None)  # what is done is not done again
    again = run("train", "summarizer")
    assert "; trained before; loss" in again.stdout
    assert f"`whylike adapters promote {versions['summarizer']}` makes it live." in again.stdout.splitlines()[0]
    assert again.stdout.startswith(f"{versions['summarizer']} is in the registry; `whylike adapters promote")
    shipped = Settings().store / "adapters"
    assert (shipped / versions["summarizer"]).is_dir()
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", shipped)
    assert run("annotate", "--import", "summaries.jsonl", "--store", "other").exit_code == 0
    anew = run("train", "summarizer", "--store", "other")
    assert isinstance(anew.exception, TypeError), "the same was trained for what comes along, but not in this store"


@pytest.mark.usefixtures("empty_store")
def test_without_annotations_nothing_is_learned(run: Callable[..., Result]):
    for expert in ("summarizer", "reasoner"):
        refused = run("train", expert)
        assert refused.exit_code == 2
        assert f"has nothing to teach the {expert} with" in refused.stderr
        assert "annotate --import" in refused.stderr


@pytest.mark.parametrize(
    ("empty", "said"),
    [
        (1, "1 row (line 1)."),
        (3, "3 rows (lines 1, 2, 3)."),
        (12, "12 rows (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and later ones)."),
    ],
)
def test_rows_that_are_left_out_are_named(empty: int, said: str, run: Callable[..., Result], workplace: Path):
    row = {"item_id": "i", "text": "Warm sound.", "rating": 5, "summary": "Positive Aspects: "}
    told = [*[row] * empty, {**row, "summary": "Positive Aspects: warm sound"}]
    (workplace / "some").write_text("".join(f"{json.dumps(each)}\n" for each in told))
    done = run("annotate", "--import", "some")
    told = " ".join(done.stdout.split())
    why = "since their lists are missing, empty or run together"
    assert told == f"1 new annotation, 0 there already. Left out, {why}: {said}"


def test_a_file_that_cannot_be_read_is_refused(run: Callable[..., Result], workplace: Path):
    (workplace / "bad").write_text("{}\n")
    refused = run("annotate", "--import", workplace / "bad")
    assert refused.exit_code == 2
    assert "line 1 of" in refused.stderr


@pytest.fixture
def reviewed(workplace: Path) -> Path:
    """A file of reviews whose ratings are the users' own."""
    chance = random.Random(1)
    rows = (
        {
            "user_id": f"u{user}",
            "item_id": f"i{chance.randrange(60)}",
            "rating": 1 + user % 5,
            "text": f"Warm sound all through, number {number}.",
            "timestamp": 1_500_000_000 + number,
        }
        for number in range(150)
        for user in [chance.randrange(10)]
    )
    path = workplace / "reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_readmes_commands_lead_from_reviews_to_adapters_and_reasons_that_were_judged(
    run: Callable[..., Result], reviewed: Path, files: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    assert run("ingest", reviewed).exit_code == 0
    assert run("annotate", "--import", files / "reasons.jsonl").exit_code == 0  # of three reasons none may validate
    lines = commands()
    first, last = lines.index(["train", "reward"]), lines.index(["train", "predictor", "--reasons", "500"])
    versions: dict[str, str] = {}
    found = {}
    for line in lines[first : last + 1]:
        words = [versions["reward"] if word.startswith("reward-") else "3" if word.isdigit() else word for word in line]
        few = ["--epochs", 1] if line[-1] == "reasoner" else ["--limit", 60, "--epochs", 1]
        more = {"train": few, "annotate": ["--json"]}.get(line[0], [])
        done = run(*words, *more)
        assert done.exit_code == 0, (line, done.stderr)
        if line[0] == "annotate":
            found = json.loads(done.stdout)
        elif line[0] == "train":
            versions[line[1]] = done.stdout.partition(" ")[0]
            assert ("RMSE" in done.stdout) is (line[1] != "reasoner")
    assert versions.pop("reasoner")
    for expert, version in versions.items():
        card = json.loads(run("adapters", "show", version, "--json").stdout)["card"]
        assert card["command"].startswith(f"whylike train {expert} --epochs 1 --seed 0 --limit 60")
        assert (card["settings"]["rank"], card["settings"]["alpha"], card["settings"]["rate"]) == (8, 16, 3e-4)
        assert 0 < card["metrics"]["examples"] < 60, "some decide when to stop"
        assert 0 < card["metrics"]["validation_rmse"] < 4
        assert card["scales"] == [{"minimum": 1, "maximum": 5, "step": 1}]
        made_with = card["made_with"]
        assert (made_with["limit"], made_with["history"]) == (60, 10)
        assert 1_500_000_000 < made_with["learned_until"] < 1_500_000_120, "the newest fifth is not learned from"
    assert made_with["reasons"] == 3
    assert made_with["reasoner"].startswith("base:scripted+")
    assert found["pairs"] == found["decided_now"] == 3
    assert (found["sampler"], found["reward"]) == ("student:base:scripted", versions["reward"])
    assert found["kept"] + found["hinted"] + found["dropped"] == 3
    again = run("annotate", "reasons", "--limit", 3)
    assert f"judged by {versions['reward']}" in again.stdout
    assert "0 decided now" in " ".join(again.stdout.split())


@pytest.mark.usefixtures("empty_store")
def test_what_does_not_fit_together_is_refused(run: Callable[..., Result]):
    for arguments, said in (
        (["train", "summarizer", "--limit", 3], "--limit"),
        (["train", "reward", "--reasons", 3], "--reasons"),
        (["train", "reward", "--also-scale", "1:10"], "--also-scale"),
        (["train", "predictor", "--also-scale", "10:1"], "10:1"),
        (["train", "predictor", "--also-scale", "1:5"], "the store's own scale"),
        (["annotate", "reasons", "--teacher", "openai"], "teacher_base_url"),
        (["annotate", "summaries"], "teacher_base_url"),
        (["annotate"], "--import"),
        (["annotate", "--import", "x", "reasons"], "--import"),
        (["annotate", "--store", "x", "reasons"], "--store"),
    ):
        refused = run(*arguments)
        assert (refused.exit_code, refused.stdout) == (2, ""), arguments
        assert said in refused.stderr


@pytest.mark.usefixtures("empty_store")
def test_where_there_are_no_pairs_nothing_is_learned_from_them(run: Callable[..., Result]):
    refused = run("train", "reward")
    assert refused.exit_code == 2
    assert "ingest more" in refused.stderr


def test_an_adapter_that_was_made_otherwise_is_not_gone_on_from(
    run: Callable[..., Result], reviewed: Path, tiny: Path, workplace: Path
):
    assert run("ingest", reviewed).exit_code == 0
    attention = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), attention).save_pretrained(str(workplace / "other"))
    added = run("adapters", "add", workplace / "other", "--expert", "reward")
    assert added.exit_code == 0, added.stderr
    refused = run("train", "reward", "--from", added.stdout.partition(" ")[0], "--limit", 60)
    assert refused.exit_code == 2
    assert "was not made by `whylike train`" in " ".join(refused.stderr.split())


def test_few_examples_and_a_training_that_begins_anew_are_told(run: Callable[..., Result], files: Path):
    assert run("annotate", "--import", files / "summaries.jsonl").exit_code == 0
    folder = Settings().store / FOLDER
    for unfinished in ("summarizer-0123", "reasoner-0123"):
        (folder / unfinished / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    (folder / "summarizer-4567" / "checkpoints").mkdir(parents=True)
    told = " ".join(run("train", "summarizer", "--epochs", 1).stderr.split())
    assert re.search(r"whylike: \d\d different examples are few: measure the adapter", told)
    assert "begins anew: that in" in told
    assert "summarizer-0123, which was not finished, has other examples" in told
    assert "reasoner-0123" not in told
    assert "summarizer-4567" not in told, "it never had anything to go on with"
    with FileLock(folder / "summarizer-0123.lock"):
        told = run("train", "summarizer", "--epochs", 1, "--seed", 1).stderr
    assert "begins anew" not in told, "it runs, in another process"


def test_one_training_does_not_run_twice_at_once(
    run: Callable[..., Result], files: Path, monkeypatch: pytest.MonkeyPatch
):
    assert run("annotate", "--import", files / "summaries.jsonl").exit_code == 0
    inside = []

    def train(*_: object, **__: object) -> None:
        inside.append(run("train", "summarizer"))
        raise UsageError("enough")

    monkeypatch.setattr("whylike.adapters.training.teach.train", train)
    run("train", "summarizer")
    [refused] = inside
    assert refused.exit_code == 2
    assert "this very training runs already" in refused.stderr
    assert [path.suffix for path in (Settings().store / FOLDER).iterdir()] == [".lock"], "nothing is left to go on with"


def test_a_training_is_another_one_on_another_device_but_what_is_done_is_not_done_again_with_other_libraries(
    run: Callable[..., Result], files: Path, monkeypatch: pytest.MonkeyPatch
):
    assert run("annotate", "--import", files / "summaries.jsonl").exit_code == 0
    first = run("train", "summarizer", "--epochs", 1).stdout.partition(" ")[0]
    card = json.loads(run("adapters", "show", first, "--json").stdout)["card"]
    assert card["environment"]["device"] == "cpu"
    assert card["environment"]["torch"] == metadata.version("torch")
    trained = []
    train = teach.train
    monkeypatch.setattr(teach, "train", lambda *given, **more: trained.append(given) or train(*given, **more))
    run("train", "summarizer", "--epochs", 1)
    assert not trained
    for changed, count in (({"torch": "1.0"}, 0), ({"precision": "nf4"}, 1)):
        monkeypatch.setattr(teach, "environment", lambda _, changed=changed: card["environment"] | changed)
        run("train", "summarizer", "--epochs", 1)
        assert len(trained) == count


def test_the_setting_device_holds_for_training(
    run: Callable[..., Result], files: Path, monkeypatch: pytest.MonkeyPatch
):
    assert run("annotate", "--import", files / "summaries.jsonl").exit_code == 0
    monkeypatch.setenv("WHYLIKE_DEVICE", "cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused = run("train", "summarizer", "--epochs", 1)
    assert refused.exit_code == 1
    assert "torch finds no GPU" in refused.stderr
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("WHYLIKE_DEVICE", "cpu")
    targets = []

    def train(*_: object, target: torch.device, **__: object) -> None:
        targets.append(target)
        raise UsageError("enough")

    monkeypatch.setattr(teach, "train", train)
    assert run("train", "summarizer").exit_code == 2
    assert targets == [torch.device("cpu")], "though there is a GPU"


def test_with_few_items_one_of_them_validates(run: Callable[..., Result], workplace: Path):
    rows = (
        {
            "item_id": f"i{number % 4}",
            "rating": 5,
            "text": f"Warm sound, number {number}.",
            "summary": f"Positive Aspects: Warm sound, number {number}\nNegative Aspects: None",
        }
        for number in range(40)
    )
    (workplace / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("annotate", "--import", workplace / "few.jsonl").exit_code == 0
    for seed in range(2):
        done = run("train", "summarizer", "--epochs", 1, "--seed", seed, "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["examples"] in {10, 20, 30}


def test_two_processes_that_train_together_learn_what_one_does(run: Callable[..., Result], files: Path):
    alone, together = files / "alone", files / "together"
    wanted = ("train", "summarizer", "--epochs", "1", "--json", "--store")
    for store in (alone, together):
        assert run("annotate", "--import", files / "summaries.jsonl", "--store", store).exit_code == 0
    one = json.loads(run(*wanted, alone).stdout)
    launch = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "whylike.cli")
    ran = subprocess.run(
        [sys.executable, "-m", *launch, *wanted, str(together)],
        check=True, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    two = json.loads(ran.stdout)
    assert "Warning" not in ran.stderr
    assert (two["examples"], two["steps"]) == (one["examples"], one["steps"])
    assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-3)
    [added] = json.loads(run("adapters", "list", "--json", "--store", together).stdout)["adapters"]
    assert added["card"]["version"] == two["version"]


def test_a_training_goes_on_from_a_version_of_the_registry(run: Callable[..., Result], reviewed: Path):
    assert run("ingest", reviewed).exit_code == 0
    few = ["--limit", 60, "--epochs", 1]
    first = run("train", "reward", "--rank", 4, *few)
    assert first.exit_code == 0, first.stderr
    parent = first.stdout.partition(" ")[0]
    more = run("train", "reward", "--from", parent, *few)
    assert more.exit_code == 0, more.stderr
    version = more.stdout.partition(" ")[0]
    card = json.loads(run("adapters", "show", version, "--json").stdout)["card"]
    assert card["parent"] == parent
    before = json.loads(run("adapters", "show", parent, "--json").stdout)["card"]
    assert card["ancestors"] == [before], "whoever has the one knows what became of the other"
    shown = " ".join(run("adapters", "show", version).stdout.split())
    assert f"{parent} by `{before['command']}`" in shown
    third = run("train", "reward", "--from", version, *few).stdout.partition(" ")[0]
    card_of_third = json.loads(run("adapters", "show", third, "--json").stdout)["card"]
    assert [each["version"] for each in card_of_third["ancestors"]] == [parent, version]
    assert card["command"] == f"whylike train reward --epochs 1 --seed 0 --limit 60 --from {parent}"
    assert (card["rank"], card["settings"]["rank"], card["settings"]["alpha"]) == (4, 4, 8)
    assert version != parent
    assert run("train", "reward", "--from", parent, *few).stdout.partition(" ")[0] == version, "it is not done again"
    for arguments, said in (
        (["reward", "--from", parent, "--rank", 8], "leave out --rank"),
        (["predictor", "--from", parent], "not of the predictor"),
        (["reward", "--from", parent[:-1]], f"did you mean {parent}"),
    ):
        refused = run("train", *arguments, *few)
        assert refused.exit_code in {1, 2}
        assert said in " ".join(refused.stderr.split()), refused.stderr
