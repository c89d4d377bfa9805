"""Who writes candidates: a teacher behind a small server of our own, and the student."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from whylike.adapters.engines.base import Adapter, Writing
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.agents import teacher
from whylike.agents.matching import Kind, Point
from whylike.agents.ratings import leaks
from whylike.agents.teacher import Case, Student, Teacher
from whylike.errors import EngineError, UsageError
from whylike.records import AspectLists, Expert, Item, RatingScale, ReviewSummary
from whylike.settings import Settings

REASONER = Adapter(version="reasoner-01234567", folder=Path("nowhere"))


def summary(number: int, *likes: str) -> ReviewSummary:
    return ReviewSummary(review_id=f"r{number}", likes=likes, dislikes=("noise",), adapter_version="x")


def case(rating: float = 2, **changes: Any) -> Case:
    made = Case(
        item=Item(item_id="i", title="Heat", description="A heist.", categories=("Crime",)),
        user=[("Alien", summary(1, "slow dread"))],
        others=[summary(2, "long silent shots")],
        profiles=(AspectLists(likes=["slow dread"], dislikes=[]), AspectLists(likes=["silent shots"], dislikes=[])),
        points=[
            Point(
                kind=Kind.DRAW,
                strength=0.7,
                quality="long silent shots",
                quality_review="r2",
                taste="slow dread",
                taste_review="r1",
            )
        ],
        balance=0.7,
        names={"r1": "Alien"},
        rating=rating,
        scale=RatingScale(),
    )
    return made._replace(**changes)


class Answers(BaseHTTPRequestHandler):
    """Gives the server's answers in turn, and notes what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((self.path, self.headers.get("authorization"), json.loads(body)))  # type: ignore[attr-defined]
        status, answer = self.server.answers.pop(0)  # type: ignore[attr-defined]
        told = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(teacher, "PAUSE", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as made:
        made.asked, made.answers = [], []  # type: ignore[attr-defined]
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def said(text: str, finish: str = "stop") -> tuple[int, dict[str, Any]]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return 200, {"id": "1", "object": "chat.completion", "created": 1, "model": "big", "choices": [choice]}


def opened(server: Any, **more: Any) -> Teacher:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return Teacher.open(Settings(teacher_base_url=url, teacher_model="big", **more))


def test_a_teacher_is_asked_for_a_reason_and_told_the_rating_only_as_a_hint(server: Any):
    server.answers = [said(' "The user enjoys\n dread." '), said("Another.")]
    asked = opened(server)
    assert asked.name == "openai:big"
    assert asked.sample(case(), hint=False, number=0) == "The user enjoys dread."
    assert asked.sample(case(), hint=True, number=1) == "Another."
    (path, _, plain), (_, _, hinted) = server.asked
    assert path == "/v1/chat/completions"
    assert (plain["model"], plain["temperature"]) == ("big", 1.0)
    told = plain["messages"][-1]["content"]
    assert "Alien: liked slow dread, disliked noise" in told
    assert "About it: Crime. A heist." in told
    assert "Hint" not in told
    assert not any(character.isdigit() for character in told), "neither history has ratings"
    assert "gave it 2 of 5" in hinted["messages"][-1]["content"]


def test_what_may_be_gone_another_time_is_asked_again(server: Any):
    server.answers = [(500, {}), (429, {}), said("At last.")]
    assert opened(server).sample(case(), hint=False, number=0) == "At last."
    assert len(server.asked) == 3
    server.answers = [(503, {"error": {"message": "loading"}})] * teacher.ATTEMPTS
    with pytest.raises(EngineError, match=r"did not answer .*loading"):
        opened(server).sample(case(), hint=False, number=0)
    assert not server.answers


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((401, {"error": {"message": "no such key"}}), "no such key"),
        ((200, {}), "not like an OpenAI-compatible server"),
        ((200, []), "not like an OpenAI-compatible server"),
    ],
)
def test_what_stays_as_it_is_fails_at_once(server: Any, answer: tuple[int, Any], why: str):
    server.answers = [answer]
    with pytest.raises(EngineError, match=why):
        opened(server).sample(case(), hint=False, number=0)
    assert len(server.asked) == 1


def test_what_was_cut_off_is_no_candidate(server: Any):
    server.answers = [said("The user", "length"), said("")]
    asked = opened(server)
    assert [asked.sample(case(), hint=False, number=number) for number in range(2)] == ["", ""]


def test_the_key_comes_from_a_variable_or_a_file(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "key").write_text("of the file\n")
    server.answers = [said("Yes.")] * 3
    opened(server).sample(case(), hint=False, number=0)
    monkeypatch.setenv("WHYLIKE_TEACHER_KEY", "of the variable")
    opened(server).sample(case(), hint=False, number=0)
    opened(server, teacher_key_file=tmp_path / "key").sample(case(), hint=False, number=0)
    assert [key for _, key, _ in server.asked] == ["Bearer none", "Bearer of the variable", "Bearer of the file"]
    with pytest.raises(UsageError, match=r"teacher_key_file .* cannot be read"):
        opened(server, teacher_key_file=tmp_path / "nothing")
    with pytest.raises(UsageError, match="no teacher is set"):
        Teacher.open(Settings())


@pytest.mark.parametrize(
    ("rating", "stance"), [(5, "likely to enjoy"), (4, "likely to enjoy"), (3, "mixed"), (2, "unlikely to enjoy")]
)
def test_the_students_hint_is_the_way_that_its_reason_goes(rating: float, stance: str):
    engine = ScriptedEngine(adapters={Expert.REASONER: REASONER})
    student = Student(engine)
    assert student.name == "student:reasoner-01234567"
    student.sample(case(rating), hint=False, number=0)
    student.sample(case(rating), hint=True, number=7)
    plain, hinted = (each for each in engine.history if isinstance(each, Writing))
    assert plain.prompt.messages[-1].content.endswith("On the whole: likely to enjoy")
    assert hinted.prompt.messages[-1].content.endswith(f"On the whole: {stance}")
    assert (plain.temperature, plain.seed, hinted.temperature, hinted.seed) == (1.0, 0, 1.0, 7)


def test_an_untaught_student_is_held_by_the_grammar():
    engine = ScriptedEngine()
    text = Student(engine).sample(case(1), hint=True, number=1)
    [asked] = engine.history
    assert isinstance(asked, Writing)
    assert asked.grammar is not None
    assert "probably be disappointed" in asked.grammar
    assert "long silent shots" in text


@pytest.mark.parametrize(
    ("text", "leaking"),
    [
        ("The user enjoys slow dread and would like this.", False),
        ("The user would rate it highly.", True),
        ("It deserves a good rating.", True),
        ("It is a star among films.", True),
        ("It would be a 4 for the user.", True),
        ("It would be 4.0 to the user.", True),
        ("It is the best of 1984 and of the 70s.", False),
        ("There are 12 songs.", False),
        ("Four out of five would like it.", True),
        ("“Five Stars” by the user's favourite band.", False),
        ("One of the best.", False),
        ("", False),
    ],
)
def test_what_may_give_the_rating_away(text: str, leaking: bool):
    assert leaks(text, RatingScale(), ["Five Stars", ""]) is leaking
