"""How what was measured is shown to people: a table of figures, and what they were measured on."""

# What is heavy is imported inside the functions, so that `whylike --help` is there at once.
# ruff: noqa: PLC0415
from __future__ import annotations

from typing import TYPE_CHECKING

from whylike.terminal import plain

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from whylike.evaluation.machine import EngineSettings, Machine
    from whylike.preparing import Told
    from whylike.progress import Watch


def figures(first: str, *others: str) -> Table:
    """A table whose first column names the row and whose other columns are numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def ran_on(machine: Machine, settings: EngineSettings | None = None) -> RenderableType:
    """The machine and the engine, in one line each."""
    from rich.text import Text

    lines = [
        f"{plain(machine.processor)}, {machine.cores} cores, {machine.memory_mib / 1024:.0f} GiB, "
        f"{machine.system}, Python {machine.python}, load {machine.load:.1f}"
    ]
    if settings:
        experts = ", ".join(dict.fromkeys(settings.adapters.values()))
        lines.append(
            f"engine {settings.engine} on {settings.device}, {plain(experts)}, batch {settings.batch}, "
            f"history {settings.history}"
        )
    return Text("\n".join(lines), style="dim")


def told(watch: Watch) -> Told:
    """Takes news of a step for the watch: its name, how much of it is done, and how much there is."""
    from whylike.graph.state import Event

    return lambda step, done, total: watch.event(Event(node=step, done=done, total=total))
