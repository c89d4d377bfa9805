"""The command line where something is wrong: one sentence, the right exit status, never a traceback."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pretended import HOSTILE, Graph

import whylike.cli
from whylike.errors import EngineError, NotFoundError
from whylike.memory.store import Store

ROOT = Path(whylike.cli.__file__).parent


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["explain", "--user", "ann"],
        ["explain", "--user", "ann", "--item", "i1", "--no-such"],
        ["explain", "--user", "ann", "--item", "i1", "--as-of", "yesterday"],
        ["ingest", "there-is-no-such-file"],
        ["ingest", "x", "--format", "nonsense"],
        ["ingest", "x", "--scale", "5:1"],
        ["profile", "show"],
        ["profile", "show", "--user", "ann", "--item", "i1"],
        ["profile", "show", "--user", "nobody"],
        ["profile", "forget", "--user", "nobody", "--yes"],
        ["profile", "readmit", "--user", "nobody"],
        ["review", "add", "--user", "ann", "--item", "i1", "--rating", "7", "--text", "Good."],
        ["review", "add", "--user", "ann", "--item", "i1", "--rating", "4", "--text", "  "],
        ["review", "add", "--user", "ann", "--item", "i1", "--rating", "4", "--text", "Good.", "--at", "3 o'clock"],
    ],
    ids=" ".join,
)
def test_bad_input_ends_with_2(run: Any, graph: Graph, args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith(("whylike: ", "Usage: "))


@pytest.mark.parametrize(
    ("error", "status"), [(EngineError("the model is gone; mend it"), 1), (NotFoundError("no item 'i1'"), 2)]
)
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_failure_is_one_sentence_on_standard_error(
    run: Any, graph: Graph, error: Exception, status: int, option: list[str]
) -> None:
    graph.fails = error
    result = run("explain", "--user", "ann", "--item", "i1", *option)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == f"whylike: {error}\n"


def test_a_failure_cannot_command_the_terminal(run: Any, graph: Graph) -> None:
    graph.fails = NotFoundError(f"no item {HOSTILE}")
    assert run("explain", "--user", "ann", "--item", "i1").stderr == "whylike: no item [red]A title\n"


def test_bad_settings_end_with_2(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYLIKE_BATCH", "many")
    result = run("explain", "--user", "ann", "--item", "i1")
    assert result.exit_code == 2
    assert "WHYLIKE_BATCH" in result.stderr


def test_a_misspelt_variable_ends_with_2(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYLIKE_STOER", "elsewhere")
    result = run("explain", "--user", "ann", "--item", "i1")
    assert result.exit_code == 2
    assert "WHYLIKE_STOER" in result.stderr
    assert "did you mean WHYLIKE_STORE?" in result.stderr
    monkeypatch.delenv("WHYLIKE_STOER")
    monkeypatch.setenv("whylike_teacher_key", "secret")
    result = run("explain", "--user", "ann", "--item", "i1")
    assert "did you mean WHYLIKE_TEACHER_KEY?" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize(("line", "meant"), [("stroe = 'there'", "store"), ("WHYLIKE_ENGINE = 'local'", "engine")])
def test_a_misspelt_line_of_the_file_ends_with_2(run: Any, workplace: Path, line: str, meant: str) -> None:
    (workplace / "whylike.toml").write_text(line)
    result = run("explain", "--user", "ann", "--item", "i1")
    assert result.exit_code == 2
    key = line.partition(" ")[0]
    assert f"whylike.toml sets {key}, which is no setting; did you mean {meant}?" in result.stderr


SLOW = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
sys.path.insert(0, sys.argv.pop(1))
import pretended
class Slow(pretended.Graph):
    def explain(self, *args, **how):
        {body}
sys.modules["whylike.graph.pair"] = Slow()
import whylike.cli
whylike.cli.main()
"""


def _started(body: str, folder: Path) -> subprocess.Popen[str]:
    args = ["explain", "--user", "ann", "--item", "i1", "--json", "--store", str(folder)]
    code = SLOW.format(body=body)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent / "support"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_is_quiet(empty_store: Store) -> None:
    with _started("print('ready', flush=True); signal.pause()", empty_store.folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "whylike: stopping\n")


def test_ctrl_c_ends_what_does_not_end_itself(empty_store: Store) -> None:
    """An engine that finishes its batch first, in a thread that the process waits for."""
    never = "import threading; threading.Thread(target=threading.Event().wait).start(); print('ready', flush=True)"
    for body in (f"{never}; signal.pause()", f"{never}\n        while True:\n            {STUBBORN}"):
        with _started(body, empty_store.folder) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.stderr.readline() == "whylike: stopping\n"
            out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (130, "", "")


STUBBORN = "try: signal.pause()\n            except KeyboardInterrupt: pass"


def test_a_broken_pipe_is_quiet(empty_store: Store) -> None:
    body = "return pretended.Explanation.model_validate(pretended.EXPLANATION | {{'notes': ['long'] * 100_000}})"
    with _started(body.format(), empty_store.folder) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "{\n"
        process.stdout.close()
        assert process.stderr.read() == ""


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this machine has no device that is always full")
@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["doctor"], ["doctor", "--json"], ["ingest", "reviews.jsonl"]], ids=" ".join
)
def test_a_result_that_cannot_be_written_is_one_sentence(reviews: Path, args: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "whylike.cli", *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (
        1,
        "whylike: the result cannot be written: No space left on device; "
        "mend that or send the result elsewhere, and run the command again\n",
    )


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- <&-"])
def test_closed_streams_are_one_sentence(reviews: Path, workplace: Path, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m whylike.cli ingest reviews.jsonl {closed}', sys.executable],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = "" if "2>" in closed else "whylike: standard output is closed; send the result to a file, or to /dev/null "
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"{said}where it is not wanted\n" if said else "")
    assert not (workplace / "store").exists()


def test_closed_standard_error_hinders_nothing(reviews: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m whylike.cli ingest reviews.jsonl 2>&-', sys.executable],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "12 new" in done.stdout


@pytest.mark.parametrize("command", ["explain", "profile show", "doctor"])
def test_settings_that_may_not_be_read_are_one_sentence(run: Any, workplace: Path, command: str) -> None:
    refuses = Path("/proc/self/mem")  # to be read from its beginning, even by root
    if not refuses.exists():
        pytest.skip("this machine has no file that nobody can read")
    (workplace / "whylike.toml").symlink_to(refuses)
    pair = ["--user", "ann", "--item", "i1"] if command == "explain" else ["--user", "ann"] if "show" in command else []
    result = run(*command.split(), *pair)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("whylike: whylike.toml cannot be read: Input/output error; mend it")


@pytest.mark.parametrize(
    "asked",
    [
        "explain --user u --item i",
        "profile show --user u",
        "index rebuild",
        "adapters list",
        "adapters show reasoner-421fb379",
        "adapters promote reasoner-421fb379",
        "adapters rollback summarizer",
        "train summarizer",
        "annotate summaries",
        "annotate reasons",
        "evaluate ratings",
        "evaluate reasons",
        "evaluate summaries",
    ],
)
def test_what_only_reads_makes_no_store(run: Any, workplace: Path, asked: str) -> None:
    """A misspelt --store would be answered from nothing otherwise."""
    refused = run(*asked.split(), "--store", "stroe")
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert re.fullmatch(
        r"whylike: there is no store in \S*stroe; `whylike ingest` makes one, or name another with --store\n",
        refused.stderr,
    )
    assert not (workplace / "stroe").exists()


def test_a_file_is_no_store(run: Any, workplace: Path) -> None:
    (workplace / "notes").touch()
    refused = run("explain", "--user", "u", "--item", "i", "--store", "notes")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert re.fullmatch(
        r"whylike: the store \S*notes is a file, not a folder; name another with --store\n", refused.stderr
    )
