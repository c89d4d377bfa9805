"""What the modules of the command line share: common options, help with examples, how a result is printed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whylike.errors import UsageError
from whylike.terminal import fail, messages, results

if TYPE_CHECKING:
    from rich.console import RenderableType

    from whylike.records import Record

PLAIN: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "no_args_is_help": True,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""How every group of commands is made."""

WHERE = "Folder of the store; else WHYLIKE_STORE, else ~/.local/share/whylike."
RUNS = "What runs the experts: local, vllm or reference; else WHYLIKE_ENGINE, else local."
MORE = "Say what is done; -vv says more."

Store = Annotated[Path | None, typer.Option("--store", metavar="DIR", readable=False, help=WHERE)]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, metavar="", show_default=False, help=MORE)]
Engine = Annotated[str | None, typer.Option("--engine", metavar="NAME", help=RUNS)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


class WithArguments(typer.core.TyperCommand):
    """A command whose help names its arguments without their types, which are a matter of the code."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer keeps the types to itself
        """Write the arguments, then the options."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            if (row := parameter.get_help_record(ctx)) is None:
                continue
            if isinstance(parameter, typer.core.TyperArgument):
                sections["Arguments"].append((parameter.display_name_raw, row[1]))
            else:
                sections["Options"].append(row)
        for name, rows in sections.items():
            with formatter.section(name):
                formatter.write_dl(rows)


def identified(option: str, text: str) -> str:
    """The id that an option gives, as the reader of a file would take it."""
    from whylike.memory.importers.values import identifier  # noqa: PLC0415 - so that `--help` is there at once

    with as_option():
        return identifier(text, option)


@contextmanager
def as_option() -> Iterator[None]:
    """Tell a value that cannot be taken as the reader of a file would, with the option in the column's place."""
    from whylike.memory.importers.values import BadRow  # noqa: PLC0415 - as above

    try:
        yield
    except BadRow as error:
        raise UsageError(str(error)) from None


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\n" + "\n".join(("Example:", *(f"  {line}" for line in lines)))


def confirm(question: str, what: str, *, yes: bool) -> None:
    """Go on only where somebody says so. Raises `UsageError` where there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{what} cannot be undone, and there is no terminal to ask at; give --yes")
    messages().print(f"{question} [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        fail("nothing was removed")
        raise typer.Exit(1)


def show(document: Record, rendered: RenderableType | None) -> None:
    """Print a result for people, or else as JSON, whose ASCII is safe on any terminal and in any pipe."""
    if rendered is None:
        typer.echo(document.model_dump_json(indent=2, ensure_ascii=True))
    else:
        from rich.text import Text  # noqa: PLC0415 - so that `--help` is there at once

        console = results()
        # A text that is kept in a file, or read by a program, breaks where its lines do: it may hold commands to copy.
        console.print(rendered, soft_wrap=isinstance(rendered, Text) and not console.is_terminal)
