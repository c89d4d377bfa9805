"""Progress on standard error: rates, time left, and the reason as it is written."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import whylike.progress
from whylike.memory.ingest import Progress
from whylike.preparing import counted, listening, tell
from whylike.progress import Step, Watch, _duration


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(whylike.progress, "time", clock)
    monkeypatch.setattr(whylike.progress, "LOOK_EVERY", 3600.0)  # the tests look themselves
    return clock


def event(node: str, done: int = 0, total: int = 0, text: str = "") -> Any:
    return SimpleNamespace(node=node, done=done, total=total, text=text)


def rows(number: int, done: int, rejected: int = 0) -> Progress:
    return Progress(file=Path("reviews.jsonl"), rows=number, rejected=rejected, done=done, total=1000)


def on_file() -> tuple[io.StringIO, Console]:
    file = io.StringIO()
    return file, Console(file=file, width=80)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert _duration(seconds) == text


def test_a_step_tells_its_rate_and_the_time_left_from_the_second_news_on() -> None:
    step = Step("reading", "rows")
    assert (step.describe(), step.share) == ("", None)
    step.update(100.0, count=2000, done=100, total=1000)
    assert (step.describe(), step.share) == ("2,000 rows", 0.1)
    step.update(104.0, count=22_000, done=300, total=1000, more="3 rejected")
    assert (step.describe(), step.share) == ("22,000 rows, 5,000 a second, 14 s left, 3 rejected", 0.3)
    step.update(116.0, count=82_000, done=1000, total=1000)
    assert (step.describe(), step.share) == ("82,000 rows, 5,000 a second", 1.0)


def test_without_a_terminal_short_things_are_silent(clock: Clock) -> None:
    file, console = on_file()
    with Watch(console, "loading") as watch:
        clock.now += 1.9
        watch.file(rows(1000, 500))
        clock.now += 1
        watch.event(event("predict", 1, 1))
    assert file.getvalue() == ""


def test_without_a_terminal_long_things_get_a_line_now_and_then(clock: Clock) -> None:
    file, console = on_file()
    with Watch(console, "loading") as watch:
        for second in range(1, 31):
            clock.now += 1
            watch.file(rows(second * 1000, second * 20))
    assert file.getvalue().splitlines() == [
        "whylike: reading reviews.jsonl 4%, 2,000 rows, 1,000 a second, 48 s left",
        "whylike: reading reviews.jsonl 24%, 12,000 rows, 1,000 a second, 38 s left",
        "whylike: reading reviews.jsonl 44%, 22,000 rows, 1,000 a second, 28 s left",
    ]


def test_what_is_prepared_once_is_heard_of_from_any_thread_while_the_watch_lasts(clock: Clock) -> None:
    file, console = on_file()
    with Watch(console, "loading"):
        for done in (0, 3, 5):
            clock.now += 12
            teller = threading.Thread(target=tell, args=("preparing the model", done, 5))
            teller.start()
            teller.join()
    said = file.getvalue().splitlines()
    assert said[0] == "whylike: preparing the model 0%, 0 of 5"
    assert len(said) == 2
    clock.now += 60
    tell("preparing another", 1, 5)
    assert file.getvalue().splitlines() == said


def test_a_step_that_goes_on_after_another_is_the_one_that_is_told(clock: Clock) -> None:
    """The model is converted when the first summaries are asked for."""
    file, console = on_file()
    with Watch(console, "loading") as watch:
        for news in (("summarize", 0, 4), ("preparing the model", 5, 5), ("summarize", 2, 4)):
            clock.now += 12
            watch.event(event(*news))
    assert file.getvalue().splitlines()[-1] == "whylike: summarizing reviews 50%, 2 of 4, 12 s each, 24 s left"


def test_a_display_that_fails_keeps_nothing_from_being_prepared(caplog: pytest.LogCaptureFixture) -> None:
    def fails(what: str, done: int, total: int) -> None:
        raise ValueError("closed")

    with listening(fails):
        assert list(counted("tensors", "ab")) == ["a", "b"]
    assert "news of tensors could not be shown" in caplog.text


def test_things_are_counted_as_they_are_gone_through() -> None:
    told: list[tuple[str, int, int]] = []
    with listening(lambda *news: told.append(news)):
        assert list(counted("tensors", "ab")) == ["a", "b"]
    assert told == [("tensors", 0, 2), ("tensors", 1, 2), ("tensors", 2, 2)]


def test_without_a_terminal_what_gives_no_news_is_told_too(clock: Clock) -> None:
    file, console = on_file()
    with Watch(console, "loading the model") as watch:
        for _ in range(26):
            clock.now += 1
            watch.say()
        watch.event(event("summarize", 4, 8))
        for _ in range(22):
            clock.now += 1
            watch.say()
        watch.event(event("summarize", 8, 8))
        for _ in range(4):
            clock.now += 1
            watch.say()
        for _ in range(14):
            clock.now += 1
            watch.event(event("reason", text="The "))
            watch.say()
    assert file.getvalue().splitlines() == [
        "whylike: loading the model, 2 s so far",
        "whylike: loading the model, 12 s so far",
        "whylike: loading the model, 22 s so far",
        "whylike: summarizing reviews 50%, 4 of 8",
        "whylike: summarizing reviews 50%, 4 of 8, 10 s so far",
        "whylike: summarizing reviews 50%, 4 of 8, 20 s so far",
        "whylike: at work after summarizing reviews, 2 s so far",
        "whylike: writing the reason, 2 s so far",
        "whylike: writing the reason, 12 s so far",
    ]


def test_the_looks_are_taken_without_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whylike.progress, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(whylike.progress, "FIRST_LINE", 0.0)
    told = threading.Event()

    class Heard(io.StringIO):
        def write(self, text: str) -> int:
            told.set()
            raise OSError(28, "No space left on device")

    with Watch(Console(file=Heard()), "loading the model") as watch:
        assert told.wait(30)
        looks = watch._looks
        told.clear()
        monkeypatch.setattr(whylike.progress, "LINE_EVERY", 0.0)
        assert told.wait(30)  # a stream that takes nothing stops nothing
    assert not looks.is_alive()


def test_on_a_terminal_everything_shows_and_goes_away(clock: Clock) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, legacy_windows=False)
    with Watch(console, "loading") as watch:
        assert "loading" in _now(watch)
        clock.now += 2
        watch.event(event("summarize", 4, 16))
        clock.now += 2
        watch.event(event("summarize", 8, 16))
        assert "summarizing reviews" in _now(watch)
        assert "8 of 16, 2.0 a second, 4 s left" in _now(watch)
        watch.event(event("reason", text="The user \x1b[2J"))
        watch.event(event("reason", text="likes it."))
        watch.index(1, 2)
        shown = _now(watch)
        assert "The user likes it." in shown
        assert "filling the index" in shown
        assert "✓ summarizing reviews" in shown
        watch._live.refresh()
    assert "\x1b[2J" not in file.getvalue()
    assert file.getvalue().endswith(("\x1b[2K", "\x1b[?25h")) or "\x1b[1A\x1b[2K" in file.getvalue()


def _now(watch: Watch) -> str:
    file = io.StringIO()
    Console(file=file, width=80).print(watch._display())
    return file.getvalue()
