"""`whylike annotate`: what it costs and what is left is told, what could not be read is named, and all is listed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import endpoint
import pytest
from click.testing import Result
from endpoint import Server, said

from whylike.agents import teacher
from whylike.memory.annotations import Occasion
from whylike.memory.spending import Purpose
from whylike.memory.store import Store
from whylike.records import ReasonAnnotation, ReasonDecision, Review

USAGE = {"prompt_tokens": 300, "completion_tokens": 20}
LISTS = "Positive Aspects: warm sound\nNegative Aspects: None\nUser Preference Elements: sound"
OPENAI = ("--teacher", "openai")
HOSTILE = "\x1b[31mred\u202e"


def answer(asked: Any) -> endpoint.Answer:
    """What a teacher says of a review: of every tenth nothing that can be read."""
    review = asked["messages"][-1]["content"]
    return said("I like it." if "number 0 of" in review else LISTS, usage=USAGE)


@pytest.fixture
def server(empty_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A teacher, and a store of fifty reviews, of which it reads forty."""
    monkeypatch.setattr(teacher, "PAUSE", 0.0)
    empty_store.add_reviews(
        Review(
            review_id=f"r{number}",
            user_id=f"u{number % 5}",
            item_id=f"i{number % 9}",
            rating=1 + number % 5,
            text=f"Warm sound all through, number {number % 10} of ten, and {number} of all.",
            timestamp=number,
        )
        for number in range(50)
    )
    with endpoint.opened(answer) as made:
        monkeypatch.setenv("WHYLIKE_TEACHER_BASE_URL", made.url)
        monkeypatch.setenv("WHYLIKE_TEACHER_MODEL", "big")
        yield made


Run = Callable[..., Result]


def told(result: Result) -> str:
    return " ".join(result.stdout.split())


@pytest.mark.usefixtures("server")
def test_tokens_and_cost_are_told_and_what_could_not_be_read_is_named(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WHYLIKE_TEACHER_PRICE_IN", "1")
    monkeypatch.setenv("WHYLIKE_TEACHER_PRICE_OUT", "10")
    done = run("annotate", "summaries", "--concurrency", "1")
    assert done.exit_code == 0
    assert "36 of 40 chosen reviews have a summary by openai:big; it was asked about 40 of them now." in told(done)
    assert "For 4 no answer came that could be read: the next run asks again. Not readable was what" in told(done)
    assert "came of r0, r10, r20, r30." in told(done)
    assert "It took 48 calls and 15,360 tokens, 14,400 in and 960 out, cost 0.0240." in told(done)
    again = json.loads(run("annotate", "summaries", "--json").stdout)
    assert again["unread"] == ["r0", "r10", "r20", "r30"]
    assert again["paid"] == {"calls": 12, "tokens_in": 3_600, "tokens_out": 240, "cost": pytest.approx(0.006)}
    assert (again["left"], again["stopped"]) == (0, "")


@pytest.mark.usefixtures("empty_store")
@pytest.mark.parametrize(
    "command", [("annotate", "summaries"), ("annotate", "reasons", *OPENAI), ("learn", *OPENAI)], ids=" ".join
)
def test_who_has_set_no_teacher_is_told_at_once(command: tuple[str, ...]):
    code = (
        f"import sys; sys.argv = {['whylike', *command]}\n"
        "from whylike.cli import main\n"
        "try: main()\nexcept SystemExit as end: print(end.code)\n"
        "print([name for name in 'torch transformers chromadb langgraph sklearn'.split() if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("whylike: no teacher is set; ")
    assert done.stdout == "2\n[]\n", "nothing that takes seconds has been loaded"


def test_a_run_stops_at_the_budget_and_says_what_is_left_and_when_it_renews(
    run: Run, server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WHYLIKE_TEACHER_CALLS", "15")
    stopped = run("annotate", "summaries", "--limit", "20", "--json")
    assert (stopped.exit_code, len(server.asked)) == (1, 15)
    found = json.loads(stopped.stdout)
    assert 0 < found["summarized"] < 16
    assert found["left"] == 20 - found["summarized"] - found["failed"]
    assert "15 of 15 calls and 4,800 of 1,000,000 tokens are used today; it renews at midnight UTC" in stopped.stderr
    assert f"{found['left']} reviews left: the same command goes on with them" in stopped.stderr
    assert f"{found['summarized']} of 20 chosen" in told(run("annotate", "summaries", "--limit", "20"))
    assert len(server.asked) == 15
    monkeypatch.setenv("WHYLIKE_TEACHER_CALLS", "1000")
    rest = run("annotate", "summaries", "--limit", "20", "--json")
    assert rest.exit_code == 0
    assert json.loads(rest.stdout)["left"] == 0
    diagnosis = json.loads(run("doctor", "--json").stdout)
    [check] = [check for check in diagnosis["checks"] if check["name"] == "teacher"]
    calls = len(server.asked)
    assert check["found"].startswith("big, asked by `whylike annotate` and --teacher alone;")
    assert f"{calls} of 1,000 calls and {calls * 320:,} of 1,000,000 tokens are used today" in check["found"]


def test_what_teachers_wrote_is_listed_the_newest_first(run: Run, empty_store: Store, monkeypatch: pytest.MonkeyPatch):
    assert told(run("annotate", "list")) == "No teacher has written anything yet."
    reason = ReasonAnnotation(title="Heat", text=f"The user likes {HOSTILE} strings.")
    occasion = Occasion(
        teacher="openai:big+0123",
        purpose=Purpose.LIVE_REASON,
        user_id="ann",
        item_id="heat",
        reviews=("r1", "r2"),
        why="the rating is far from sure",
        instead="It is hard to say.",
    )
    for number, when in enumerate((1_000_000, 2_000_000)):
        monkeypatch.setattr("whylike.memory.annotations.time.time", lambda when=when: when)
        empty_store.keep_reason(f"key {number}", reason, "openai:big", occasion)
        empty_store.add_annotations([ReasonAnnotation(title="Heat", text=f"Of a file, {number}.")], "reasons.jsonl")
    decided = {"review_id": "r9", "user_id": "bob", "item_id": "heat", "outcome": "hinted", "reward": "r", "tau": 0.1}
    for sampler in ("student:base", "openai:big"):
        decision = ReasonDecision(**decided, tries=1, annotation=reason, sampler=sampler)
        empty_store.decide(f"by {sampler}", decision)
    found = json.loads(run("annotate", "list", "--json").stdout)
    assert found["annotations"] == 5, "what a student wrote is not a teacher's"
    newest, live = found["newest"][0], next(each for each in found["newest"] if each["user_id"] == "ann")
    assert (newest["user_id"], newest["purpose"]) == ("bob", "annotate reasons, with the rating as a hint")
    assert [each["at"] for each in found["newest"][1:]] == [2_000_000] * 2 + [1_000_000] * 2
    assert live == {
        "kind": "reason",
        "text": reason.text,
        "teacher": "openai:big+0123",
        "at": 2_000_000,
        "purpose": "live reason",
        "user_id": "ann",
        "item_id": "heat",
        "reviews": ["r1", "r2"],
        "why": "the rating is far from sure",
        "instead": "It is hard to say.",
    }
    shown = run("annotate", "list", "--limit", "3").stdout
    assert "24 January 1970 03:33 UTC reason for ann and heat by openai:big+0123 (live reason)" in shown
    assert "  since the rating is far from sure\n  in place of: It is hard to say.\n" in shown
    assert "2 older annotations, which --limit shows." in shown
    assert "The user likes red strings." in shown
    assert "\x1b" not in shown
