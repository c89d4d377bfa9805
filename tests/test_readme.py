"""The README tells the truth: its commands run, its picture is the graph's, its links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import endpoint
import pytest
from readme import README, ROOT, commands
from typer.testing import CliRunner

from whylike.cli import app
from whylike.graph.pair import compiled

ELSEWHERE = {"adapters", "annotate", "evaluate", "learn", "train", "vllm"}
"""Commands that need an adapter, a server, a teacher or many reviews: adapters/test_adapters_cli.py, test_vllm_cli.py,
adapters/training/test_teach_cli.py, adapters/training/test_learn_cli.py, adapters/training/test_finetuning.py and
evaluation/test_ratings.py run them."""


@pytest.fixture
def own_data(tmp_path, monkeypatch):
    """A folder with the files that the README's reader brings, and a store of its own."""
    people = ("ann", "bob", "cy")
    films = ("alien-1979", "heat-1995")
    reviews = [
        {
            "user_id": user,
            "item_id": film,
            "rating": 4,
            "text": "Slow dread in every room.",
            "timestamp": 1_600_000_000 + n,
        }
        for n, (user, film) in enumerate((user, film) for user in people for film in films)
    ]
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps(review) + "\n" for review in reviews))
    items = [{"item_id": film, "title": film.title()} for film in films]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHYLIKE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WHYLIKE_ENGINE", "scripted")


def test_every_command_runs(own_data):
    here = [arguments for arguments in commands() if arguments[0] not in ELSEWHERE]
    here = [arguments for arguments in here if not {"vllm", "--teacher"} & set(arguments)]
    assert len(here) >= 6
    for arguments in here:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (arguments, result.output)


def test_the_commands_with_a_teacher_on_call_run(own_data, monkeypatch):
    for user, film in (("ann", "heat-1995"), ("bob", "alien-1979")):
        said = ["--rating", "4", "--text", "Slow dread in every room.", "--at", "2001-01-01"]
        added = CliRunner().invoke(app, ["review", "add", "--user", user, "--item", film, *said])
        assert added.exit_code == 0, added.output
    monkeypatch.setattr("whylike.agents.unsure.WIDE", 0.0)
    asked = [arguments for arguments in commands() if arguments[0] == "explain" and "--teacher" in arguments]
    assert len(asked) == 1
    with endpoint.opened(lambda _: endpoint.said("Of both films it is said that there is “Slow dread”.")) as server:
        monkeypatch.setenv("WHYLIKE_TEACHER_BASE_URL", server.url)
        monkeypatch.setenv("WHYLIKE_TEACHER_MODEL", "big")
        result = CliRunner().invoke(app, asked[0])
    assert result.exit_code == 0, result.output
    assert "teacher big, not the student's own Reasoner" in " ".join(result.stdout.split())
    assert ["annotate", "list"] in commands()
    listed = CliRunner().invoke(app, ["annotate", "list"])
    assert "reason for ann and alien-1979 by openai:big+" in listed.stdout


def test_the_lines_of_python_run(own_data, capsys):
    (lines,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert CliRunner().invoke(app, ["ingest", "reviews.jsonl"]).exit_code == 0
    exec(lines, {})
    assert re.match(r"[1-5]\.\d+ ", capsys.readouterr().out)


def test_the_sample_rows_can_be_read(own_data):
    (sample,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert len(sample.splitlines()) == 2
    Path("sample.jsonl").write_text(sample)
    result = CliRunner().invoke(app, ["ingest", "sample.jsonl"])
    assert "2 new, 0 there already" in result.stdout, result.output


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([\w-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_picture_is_the_graph():
    (picture,) = re.findall(r"```mermaid\n(.*?)```", README, re.DOTALL)
    assert picture.strip() == compiled().get_graph().draw_mermaid().strip()


def test_links_lead_somewhere():
    told = README + (ROOT / "MEASURED.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", told) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
