"""What is going on, on standard error: a live display on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from threading import Event as ThreadingEvent
from threading import Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from whylike.preparing import listening
from whylike.terminal import plain

if TYPE_CHECKING:
    from whylike.adapters.training.trainer import News
    from whylike.graph.pair import Event
    from whylike.memory.ingest import Progress

FIRST_LINE = 2.0
"""Seconds after which a step that is still going on is reported where there is no terminal."""
LINE_EVERY = 10.0
"""Seconds between the lines after that."""
LOOK_EVERY = 0.25
"""Seconds between looks at whether a line is due, as no news may come for long."""
RATED_AFTER = 0.5
"""Seconds of a step from which its rate means something."""
SLOW = 0.1
"""Rate, a second, below which the time of each is told."""
REASON, DRAFT = "reason", "draft"
"""The node whose text is shown as it is written."""
LABELS = {
    "summarize": "summarizing reviews",
    "reason": "writing the reason",
    "predict": "predicting the rating",
    "index": "filling the index",
    "teacher": "asking the teacher",
    "start": "starting the vLLM server",
}
"""What the nodes of a graph are called; one that is not here goes by its own name."""


class Step:
    """One thing that is going on: how far it is, how fast, and how long it will take."""

    def __init__(self, label: str, unit: str) -> None:
        self.label = label
        self._unit = unit
        self.began = self.news = 0.0
        """When the first news of it came, and the last."""
        self._first: tuple[float, int, int] | None = None
        self._count = self._done = self._total = 0
        self._more = ""

    def update(self, now: float, *, count: int, done: int, total: int, more: str = "") -> None:
        """Take news: `count` units are ready; of the work, `done` of `total` (which may be measured otherwise)."""
        # The speed is counted from the first news: before it came imports, opening the store, loading the model.
        self._first = self._first or (now, count, done)
        self.began = self._first[0]
        self.news, self._count, self._done, self._total, self._more = now, count, done, total, more

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None where that is not known."""
        return min(self._done / self._total, 1.0) if self._total else None

    def describe(self) -> str:
        """Count, rate and time left, as far as they are known."""
        parts = []
        if self._total:
            of = f" of {self._total:,}" if self._count == self._done else ""
            parts.append(f"{self._count:,}{of} {self._unit}".strip())
        began, counted, ready = self._first or (self.news, 0, 0)
        took = self.news - began
        if took >= RATED_AFTER and self._done > ready:
            rate = (self._count - counted) / took
            if 0 < rate < SLOW:
                parts.append(f"{_duration(1 / rate)} each")
            else:
                parts.append(f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second")  # noqa: PLR2004
            if self._done < self._total:
                parts.append(f"{_duration((self._total - self._done) * took / (self._done - ready))} left")
        return ", ".join([*parts, self._more] if self._more else parts)


class Watch:
    """Shows the progress of one command while it runs; a context manager whose methods are the callbacks.

    Of what is prepared once, it hears by itself (`whylike.preparing`).

    On a terminal the display goes away at the end. Elsewhere what takes over two seconds gets a line, and another every
    ten seconds, whether or not there is news.
    """

    def __init__(self, console: Console, what: str) -> None:
        """`what` is said until the first news comes."""
        self._console = console
        self._what = what
        self._began = self._last_line = time.monotonic()
        self._said = self._text = ""
        self._lock = Lock()
        self._ended = ThreadingEvent()
        self._hears = ExitStack()
        self._looks = Thread(target=self._look, name="progress", daemon=True)
        self._steps: dict[str, Step] = {}
        """The one that news came of last is the last."""
        self._reason = ""
        self._losses: dict[str, float] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(console=console, get_renderable=self._display, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        else:
            self._looks.start()
        self._hears.enter_context(listening(self._heard))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hears.close()
        self._ended.set()
        if self._live:
            self._live.stop()
        else:
            self._looks.join()

    def file(self, progress: Progress) -> None:
        """Take news of an ingest."""
        more = f"{progress.rejected:,} rejected" if progress.rejected else ""
        new = Step(f"reading {progress.file.name}", "rows")
        self._report(str(progress.file), new, count=progress.rows, done=progress.done, total=progress.total, more=more)

    def event(self, event: Event) -> None:
        """Take news of a graph's node, or the next piece of the reason."""
        if event.node == REASON:
            self._reason += event.text
        more = event.text if event.total else ""
        self._count(REASON if event.node == DRAFT else event.node, event.done, event.total, more)

    def index(self, done: int, total: int) -> None:
        """Take news of the index's rebuilding."""
        self._count("index", done, total)

    def training(self, news: News) -> None:
        """Take news of a training."""
        told = {"loss": news.loss, "validation": news.validation}
        self._losses.update({name: loss for name, loss in told.items() if loss is not None})
        more = [f"{name} {loss:.3f}" for name, loss in self._losses.items()]
        if news.tokens_per_s:
            more.append(f"{news.tokens_per_s:,.0f} tokens a second")
        self._report(
            "training",
            Step("training", "steps"),
            count=news.step,
            done=news.step,
            total=news.steps,
            more=", ".join(more),
        )

    def _heard(self, what: str, done: int, total: int) -> None:
        """Take news of what is prepared once, from whichever thread."""
        if not self._ended.is_set():
            self._count(what, done, total)

    def _count(self, node: str, done: int, total: int, more: str = "") -> None:
        self._report(node, Step(LABELS.get(node, node), ""), count=done, done=done, total=total, more=more)

    def _report(self, key: str, new: Step, *, count: int, done: int, total: int, more: str = "") -> None:
        """Take news of a step; `new` stands for it if it is the first."""
        with self._lock:
            self._steps[key] = step = self._steps.pop(key, new)
            step.update(time.monotonic(), count=count, done=done, total=total, more=more)
        if self._live is None:
            self.say()

    def _look(self) -> None:
        """Say from time to time what is going on, also while no news comes."""
        while not self._ended.wait(LOOK_EVERY):
            self.say()

    def say(self) -> None:
        """Report on a stream that is not a terminal, if a line is due: now and then, and no line twice."""
        with self._lock:
            now = time.monotonic()
            step = next(reversed(self._steps.values()), None)
            label, since, text = self._what, self._began, ""
            if step and step.share == 1.0:  # what comes after it gives no news of its own
                label, since = f"at work after {step.label}", step.news
            elif step:
                label, since = step.label, step.began
                text = f" {step.share:.0%}, {step.describe()}" if step.share is not None else ""
            # What is new gets its line after two seconds, what had one every ten seconds.
            if now - self._last_line < (LINE_EVERY if label == self._said else FIRST_LINE):
                return
            if not text and now - since < FIRST_LINE:
                return
            again = label == self._said and text == self._text
            more = f", {_duration(now - since)} so far" if again or not text else ""
            self._said, self._text, self._last_line = label, text, now
            with suppress(OSError):  # what cannot be told keeps nothing from being done
                self._console.print(plain(f"whylike: {label}{text}{more}"), soft_wrap=True)

    def _display(self) -> RenderableType:
        now = time.monotonic()
        with self._lock:
            steps = list(self._steps.values())
        rows = Table.grid(padding=(0, 1))
        if not steps:
            rows.add_row(self._spinner, Text(plain(self._what)), Text(_duration(now - self._began), style="dim"))
        for number, step in enumerate(steps, start=1):
            current = number == len(steps)
            mark: RenderableType = self._spinner if current else Text("✓", style="green")
            share = 1.0 if not current and step.share is None else step.share
            bar = ProgressBar(
                total=1 if share is not None else None, completed=share or 0, width=20, pulse=share is None
            )
            rows.add_row(mark, Text(plain(step.label)), bar, Text(step.describe(), style="dim"))
        if not self._reason:
            return rows
        return Group(rows, Text(""), Text(plain(self._reason, lines=True), style="italic"))


def _duration(seconds: float) -> str:
    """A time for people: `8 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
