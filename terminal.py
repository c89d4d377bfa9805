"""What reaches a terminal: text that cannot command it, on one console for results and one for messages."""

from __future__ import annotations

import io
import logging
import re
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

WIDEST = 100
"""Columns that a result takes at most: longer lines are hard to read."""

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"  # titles, links, strings
)
_JOINERS = "\u200c\u200d"
"""Invisible characters that hold emoji and letters together; they move nothing on the screen."""
_LINE_ENDS = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")


def many(count: int, noun: str) -> str:
    """A number with what it counts, in the singular or the plural."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def plain(text: str, *, lines: bool = False) -> str:
    """Make text from outside harmless to show: whatever prints a title, an id or a review prints it through here.

    Terminal escape sequences, control characters, characters that turn or hide the text around them (bidirectional
    overrides, zero-width ones) and lone surrogates are removed.

    Args:
        text: Any string.
        lines: Keep line ends; otherwise the result is one line.

    Returns:
        Text of visible characters and spaces, with `lines` also of line ends.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_ENDS.sub("\n", _SEQUENCES.sub("", text))
    if not lines:
        text = text.replace("\n", " ")
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    """The character, a space in its place, or nothing."""
    if character in _JOINERS or character == "\n":
        return character
    category = unicodedata.category(character)
    if category == "Zs" or character == "\t":
        return " "
    return "" if category in {"Cc", "Cf", "Cs"} else character


def results() -> Console:
    """The console for what was asked for: standard output, without markup, in colour only on a terminal."""
    return _console(sys.stdout)


def messages() -> Console:
    """The console for everything else: standard error."""
    return _console(sys.stderr)


def fail(message: str) -> None:
    """Say on standard error what went wrong."""
    messages().print(f"whylike: {plain(message)}", soft_wrap=True)


def log(verbose: int) -> None:
    """Show the program's log on standard error: warnings; with one -v what is done, with two every detail."""
    handler = _Log()
    handler.setFormatter(logging.Formatter("whylike: %(message)s"))
    logger = logging.getLogger("whylike")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for kernels that only a hub has


class _Log(logging.Handler):
    """Writes to standard error as it is at that time: a live display stands in for it while it shows."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{plain(self.format(record), lines=True)}\n")


class Narrow:
    """What is inside, no wider than `WIDEST` and without spaces at the ends of lines."""

    def __init__(self, inside: RenderableType) -> None:
        self._inside = inside

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment  # noqa: PLC0415 - as above

        narrow = options.update(width=min(options.max_width, WIDEST))
        for line in console.render_lines(self._inside, narrow, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
            yield from line
            yield Segment.line()


def _console(stream: TextIO) -> Console:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows question marks
    from rich.console import Console  # noqa: PLC0415 - `whylike --help` does without rich

    return Console(file=stream, markup=False, emoji=False, highlight=False)
