"""The commands of `whylike evaluate`: how good the answers are."""

from __future__ import annotations

import typer

from whylike.evaluate_text_cli import EXAMPLES, SUMMARIES, reasons, summaries
from whylike.options import PLAIN, examples

evaluate_app = typer.Typer(help="Measure how good the answers are.", epilog=examples(SUMMARIES), **PLAIN)
evaluate_app.command(epilog=EXAMPLES["summaries"])(summaries)
evaluate_app.command(epilog=EXAMPLES["reasons"])(reasons)
